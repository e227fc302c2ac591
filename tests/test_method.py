"""The method of a transfer by its name: the words of a target, and the statistics that go with one method alone."""

from dataclasses import replace

import pytest

from workbench.errors import UsageError
from workbench.transfer import Settings, asked, check_asked


@pytest.mark.parametrize(
    ("words", "method", "target", "found"),
    [
        ("blend", "neighbours", "blend", "neighbours"),
        ("blend", "gram", "blend", "gram"),
        ("gram:blend", "neighbours", "blend", "gram"),
        ("neighbours:single", "gram", "single", "neighbours"),
        ("gram:regions", "gram", "regions", "gram"),
        ("blend/barycentre", "neighbours", "blend/barycentre", "gram"),
        ("whole/apart", "gram", "whole/apart", "gram"),
        ("gram:whole/bag", "neighbours", "whole/bag", "gram"),
    ],
)
def test_words_name_a_target_and_a_method_and_change_no_other_setting(words, method, target, found):
    settings = Settings(method=method, size=96, alpha=0.3, looseness=0.5)
    assert asked(words, settings) == (target, replace(settings, method=found))
    assert check_asked(words, settings) == target.partition("/")[0]
    assert settings.method == method


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("grm:blend", "'grm:blend': the method before the colon is neighbours or gram"),
        ("Gram:blend", "neighbours or gram"),
        ("neighbors:single", "neighbours or gram"),
        ("gram:neighbours:blend", "neighbours or gram"),
        ("single:gram", "neighbours or gram"),
        ("gram:", "target '': choose single"),
        ("gram:bland", "target 'bland': choose single"),
        ("bland", "target 'bland': choose single"),
        ("blend/barycenter", "'barycenter': choose pooled, barycentre"),
        ("neighbours:blend/barycentre", "'barycentre' .* go with the method gram"),
        ("gram:regions/bag", "pooled pieces"),
        ("regions/apart", "pooled pieces"),
    ],
)
def test_words_that_are_nearly_right_are_refused(words, says):
    with pytest.raises(UsageError, match=says):
        check_asked(words, Settings())


def test_a_style_loss_goes_with_the_method_that_has_one():
    settings = Settings(style_loss="w2")
    with pytest.raises(UsageError, match="go with the method gram"):
        check_asked("blend", settings)
    assert check_asked("gram:blend", settings) == "blend"
    assert check_asked("blend/barycentre", settings) == "blend"
    with pytest.raises(UsageError, match="pooled or barycentre"):
        check_asked("blend/apart", settings)
