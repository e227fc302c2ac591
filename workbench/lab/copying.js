// Buttons that copy a text and show it.
const STYLE = `
.wb-copying { color: var(--jp-content-font-color1, #1a1a1a); font-family: var(--jp-ui-font-family, sans-serif); font-size: 13px; }
.wb-copying button { color: inherit; font: inherit; background: var(--jp-layout-color2, #eee); border: 1px solid var(--jp-border-color1, #bbb); border-radius: 2px; padding: 4px 12px; margin-right: 8px; cursor: pointer; }
.wb-copying button:focus-visible { outline: 2px solid var(--jp-brand-color1, #0072b2); outline-offset: 1px; }
.wb-copying textarea { display: block; width: min(100%, 760px); margin-top: 6px; box-sizing: border-box; color: inherit; background: var(--jp-cell-editor-background, var(--jp-layout-color1, #f7f7f7)); border: 1px solid var(--jp-border-color1, #bbb); font-family: var(--jp-code-font-family, monospace); font-size: 12px; }
.wb-copying .status { color: var(--jp-content-font-color2, #5f5f5f); }
`;

function render({ model, el }) {
  make("style", { textContent: STYLE }, el);
  const root = make("div", { className: "wb-copying" }, el);
  for (const name of model.get("names")) {
    make("button", { type: "button", textContent: name }, root).addEventListener("click", () => model.send({ make: name }));
  }
  const status = make("span", { className: "status" }, root);
  status.setAttribute("role", "status");
  const box = make("textarea", { readOnly: true, spellcheck: false }, root);
  box.setAttribute("aria-label", "the text that was copied");

  function show() {
    const text = model.get("text");
    box.value = text;
    box.rows = Math.min(text.split("\n").length + 1, 16);
    box.style.display = text ? "block" : "none";
    status.textContent = "";
  }
  async function copy() {
    show();
    if (!model.get("sound")) return;
    try {
      await navigator.clipboard.writeText(model.get("text"));
      status.textContent = "copied";
    } catch { // a page that is not served securely has no clipboard
      box.select();
      status.textContent = "press Ctrl+C to copy";
    }
  }
  model.on("change:text", show);
  model.on("change:revision", copy);
  show();
  return () => {
    model.off("change:text", show);
    model.off("change:revision", copy);
  };
}

export default { render };
