// A corpus on a plane. Thumbnails are cut from one picture; the painting under the pointer is requested once, and kept.
const STYLE = `
.wb-map { color: var(--jp-content-font-color1, #1a1a1a); font-family: var(--jp-ui-font-family, sans-serif); font-size: 13px; line-height: 1.3; max-width: 1080px; }
.wb-map .bar { display: flex; gap: 6px 14px; align-items: center; margin: 4px 0; flex-wrap: wrap; }
.wb-map select, .wb-map .bar button { font: inherit; color: inherit; background: var(--jp-layout-color1, #fff); border: 1px solid var(--jp-border-color1, #bbb); border-radius: 3px; padding: 2px 6px; }
.wb-map .bar button { cursor: pointer; padding: 2px 10px; }
.wb-map .bar button:disabled { opacity: 0.5; cursor: default; }
.wb-map .bar button.main { background: var(--jp-brand-color1, #0072b2); border-color: var(--jp-brand-color1, #0072b2); color: var(--jp-ui-inverse-font-color1, #fff); }
.wb-map :is(select, button):focus-visible { outline: 2px solid var(--jp-brand-color1, #0072b2); outline-offset: 1px; }
.wb-map .muted { color: var(--jp-content-font-color2, #5f5f5f); }
.wb-map .body { display: flex; gap: 12px; flex-wrap: wrap; }
.wb-map .stage { position: relative; flex: 1 1 480px; min-width: 280px; height: 540px; overflow: hidden; touch-action: none; user-select: none; cursor: crosshair; background: var(--jp-layout-color2, #eee); border-radius: 3px; }
.wb-map .stage.moves { cursor: move; }
.wb-map .stage:focus { outline: none; }
.wb-map .stage:focus-visible { outline: 2px solid var(--jp-brand-color1, #0072b2); outline-offset: 2px; }
.wb-map .stage[aria-busy="true"] .work { opacity: 0.25; }
.wb-map .stage .wait { position: absolute; inset: 0; display: grid; place-items: center; font-size: 15px; pointer-events: none; }
.wb-map .work { position: absolute; top: 0; left: 0; box-sizing: content-box; border: 3px solid; box-shadow: 0 0 0 1px var(--jp-layout-color2, #eee); background-repeat: no-repeat; background-clip: content-box; background-origin: content-box; cursor: pointer; }
.wb-map .stage.empty .work { display: none; }
.wb-map .stage.some .work:not([aria-selected="true"]) { opacity: 0.35; }
.wb-map .stage .work[aria-selected="true"] { z-index: 1; }
.wb-map .stage .work.at { z-index: 2; opacity: 1 !important; box-shadow: 0 0 0 1px var(--jp-layout-color0, #fff), 0 0 0 4px var(--jp-content-font-color1, #1a1a1a); }
.wb-map .stage.glide .work { transition: transform 0.35s ease-out; }
.wb-map .over { position: absolute; inset: 0; pointer-events: none; z-index: 3; }
.wb-map .over svg { width: 100%; height: 100%; display: block; }
.wb-map .over path { fill: var(--jp-brand-color1, #0072b2); fill-opacity: 0.15; stroke: var(--jp-brand-color1, #0072b2); stroke-width: 2; fill-rule: evenodd; }
.wb-map aside { flex: 0 0 240px; min-width: 0; display: flex; flex-direction: column; gap: 6px; }
.wb-map .large { height: 240px; background: var(--jp-layout-color2, #eee) center / contain no-repeat; border-radius: 3px; display: grid; place-items: center; text-align: center; overflow: hidden; }
.wb-map .rough { background-repeat: no-repeat; }
.wb-map .text { min-height: 52px; overflow-wrap: anywhere; }
.wb-map .title { font-weight: 600; }
.wb-map .legend { display: flex; flex-direction: column; align-items: stretch; max-height: 190px; overflow-y: auto; padding: 2px; }
.wb-map .legend button { font: inherit; color: inherit; background: none; border: 1px solid transparent; border-radius: 3px; padding: 1px 5px; display: flex; gap: 7px; align-items: center; text-align: left; cursor: pointer; flex: none; }
.wb-map .legend button:hover { background: var(--jp-layout-color2, #eee); }
.wb-map .legend button[aria-pressed="true"] { border-color: var(--jp-brand-color1, #0072b2); background: var(--jp-layout-color2, #eee); }
.wb-map .legend i { width: 12px; height: 12px; flex: none; border: 1px solid var(--jp-border-color0, #999); box-sizing: border-box; }
.wb-map .legend span { flex: 1; overflow-wrap: anywhere; }
.wb-map .strip { display: flex; flex-wrap: wrap; gap: 6px; max-height: 216px; overflow-y: auto; margin-top: 6px; padding: 2px; }
.wb-map .strip .work { position: static; border-width: 2px; }
.wb-map .strip .work.at { box-shadow: 0 0 0 2px var(--jp-content-font-color1, #1a1a1a); }
@media (prefers-reduced-motion: reduce) { .wb-map .stage.glide .work { transition: none; } }
`;
const KINDS = [["style", "style"], ["content", "content"]];
const PROJECTIONS = [["pca", "PCA"], ["tsne", "t-SNE"]];
const COLOURS = [["cluster", "style cluster"], ["genre", "genre"], ["artist", "artist"], ["year", "year"]];
const TOOLS = [["lasso", "draws a lasso"], ["rectangle", "draws a rectangle"], ["move", "moves the map"]];
const SMALL = 22, LARGE = 60, STRIP = 64; // px, long side of thumbnails: on the map at least and at most, and in the strip
const CLICK = 4; // px that a pointer may tremble

function render({ model, el }) {
  make("style", { textContent: STYLE }, el);
  const root = make("div", { className: "wb-map" }, el);
  const id = `wb-map-${Math.random().toString(36).slice(2)}`; // of this view: a widget may be shown twice
  const titles = model.get("titles");
  const view = { x: 0, y: 0, scale: 1 }; // the part of the map on the stage: px from the middle of the unzoomed map
  const fit = { x: 0, y: 0, scale: 1, side: LARGE }; // the map's middle, px per unit of its points, px of a thumbnail
  const pictures = {}; // URL of the large paintings that have come
  let at = -1; // the work that keys move from
  let sprites = "";

  // The controls

  const bar = make("div", { className: "bar" }, root);
  const pickers = { kind: picker("Near in ", KINDS), projection: picker("Projection ", PROJECTIONS), colour_by: picker("Colour ", COLOURS) };
  const tool = picker("Dragging ", TOOLS);
  tool.addEventListener("change", () => stage.classList.toggle("moves", tool.value === "move"));
  for (const [name, select] of Object.entries(pickers)) {
    select.addEventListener("change", () => { model.set(name, select.value); model.save_changes(); });
  }
  function picker(label, options) {
    const select = make("select", {}, make("label", { textContent: label }, bar));
    options.forEach(([value, text]) => make("option", { value, textContent: text }, select));
    return select;
  }

  const body = make("div", { className: "body" }, root);
  const stage = make("div", { className: "stage empty", tabIndex: 0 }, body);
  stage.setAttribute("role", "listbox");
  stage.setAttribute("aria-multiselectable", "true");
  stage.setAttribute("aria-label", `Map of ${model.get("name")}, ${titles.length} paintings: arrow keys go to the next in a direction, ` +
    "page keys through all, space selects, Escape selects none, plus, minus and 0 zoom");
  const wait = make("div", { className: "wait", textContent: "measuring paintings …" }, stage);
  wait.setAttribute("role", "presentation");
  const over = make("div", { className: "over", innerHTML: "<svg><path></path></svg>" }, stage);
  over.setAttribute("aria-hidden", "true");
  const outline = over.querySelector("path");

  const aside = make("aside", {}, body);
  const large = make("div", { className: "large muted" }, aside);
  const hint = make("span", { textContent: "point at a painting, or go there with the arrow keys" }, large);
  const rough = make("div", { className: "rough" }, large); // its thumbnail, until the painting has come
  const text = make("div", { className: "text" }, aside);
  const title = make("div", { className: "title" }, text);
  const about = make("div", { className: "muted" }, text);
  const legend = make("div", { className: "legend" }, aside);
  legend.setAttribute("role", "group");
  const note = make("div", { className: "muted" }, aside);

  const foot = make("div", { className: "bar" }, root);
  const status = make("span", {}, foot);
  status.setAttribute("role", "status");
  status.setAttribute("aria-live", "polite");
  const none = make("button", { type: "button", textContent: "Select none" }, foot);
  none.addEventListener("click", () => model.send({ clear: true }));
  const target = make("button", { type: "button", className: "main", textContent: "Make it the target" }, foot);
  target.addEventListener("click", () => model.send({ target: true }));
  make("span", { className: "muted", textContent: "drag round paintings to select them, with shift to add; scroll to zoom" }, foot);
  const strip = make("div", { className: "strip" }, root);
  strip.setAttribute("role", "list");
  strip.setAttribute("aria-label", "the selected paintings");

  // The works

  const works = titles.map(([name, known], i) => {
    const node = make("div", { className: "work", id: `${id}-${i}` }, stage);
    node.setAttribute("role", "option");
    node.setAttribute("aria-label", `${name}, ${known}`);
    node.addEventListener("pointerenter", () => look(i));
    node.addEventListener("pointerleave", () => look(at));
    return node;
  });

  function cut(node, i, side) { // show work i in `node`, its long side `side` px
    const [x, y, width, height] = model.get("cells")[i];
    const scale = side / Math.max(width, height);
    node.style.width = `${width * scale}px`;
    node.style.height = `${height * scale}px`;
    node.style.backgroundImage = `url(${sprites})`;
    node.style.backgroundSize = `${sheet.naturalWidth * scale}px ${sheet.naturalHeight * scale}px`;
    node.style.backgroundPosition = `${-x * scale}px ${-y * scale}px`;
  }
  function sizeOf(i, side) {
    const [, , width, height] = model.get("cells")[i];
    const scale = side / Math.max(width, height);
    return [width * scale, height * scale];
  }

  let shown = -1, pending = 0;
  function look(i) { // show work i at the side, or nothing
    if (shown >= 0) mark(shown, false);
    shown = i;
    clearTimeout(pending);
    title.textContent = i < 0 ? "" : titles[i][0];
    about.textContent = i < 0 ? "" : titles[i][1];
    hint.style.display = i < 0 ? "" : "none";
    paint();
    if (i < 0) return;
    mark(i, true);
    if (!pictures[i]) pending = setTimeout(() => model.send({ enlarge: i }), 60); // not for one that the pointer only passes over
  }
  function paint() {
    const url = pictures[shown];
    large.style.backgroundImage = url ? `url(${url})` : "none";
    rough.style.display = shown < 0 || url || !sheet.naturalWidth ? "none" : "";
    if (rough.style.display === "") cut(rough, shown, large.clientHeight);
  }
  function mark(i, on) {
    works[i].classList.toggle("at", on);
    strip.querySelector(`[data-work="${i}"]`)?.classList.toggle("at", on);
  }
  function come(message, buffers) {
    if (message.enlarge === undefined) return;
    pictures[message.enlarge] ??= URL.createObjectURL(new Blob([buffers[0]], { type: "image/jpeg" }));
    if (shown === message.enlarge) paint();
  }

  function go(i) { // move the keys' place to work i, and the map so that it is seen
    at = i;
    stage.setAttribute("aria-activedescendant", i < 0 ? "" : works[i].id);
    look(i);
    if (i < 0) return;
    const [x, y] = toStage(model.get("points")[i]);
    const room = LARGE / 2;
    view.x += (Math.max(0, x - stage.clientWidth + room) + Math.min(0, x - room)) / view.scale;
    view.y += (Math.max(0, y - stage.clientHeight + room) + Math.min(0, y - room)) / view.scale;
    hold();
  }

  // Places: points of the map have y upwards, the stage downwards

  function measure() {
    const points = model.get("points");
    if (!points.length) return;
    const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const room = LARGE + 16;
    Object.assign(fit, { x: (left + right) / 2, y: (low + high) / 2 });
    fit.scale = Math.min((stage.clientWidth - room) / (right - left || 1e-9), (stage.clientHeight - room) / (high - low || 1e-9));
    if (left === right && low === high) fit.scale = 1; // all in one place
    const nearest = points.map(([x, y], i) => Math.min(...points.map(([a, b], j) => (i === j ? Infinity : Math.hypot(a - x, b - y)))));
    const middle = nearest.sort((a, b) => a - b)[points.length >> 1] * fit.scale;
    fit.side = Math.min(Math.max(1.3 * middle, SMALL), LARGE);
  }
  const toStage = ([x, y]) => [
    stage.clientWidth / 2 + ((x - fit.x) * fit.scale - view.x) * view.scale,
    stage.clientHeight / 2 + ((fit.y - y) * fit.scale - view.y) * view.scale,
  ];
  const toMap = ([x, y]) => [
    fit.x + ((x - stage.clientWidth / 2) / view.scale + view.x) / fit.scale,
    fit.y - ((y - stage.clientHeight / 2) / view.scale + view.y) / fit.scale,
  ];
  function place() {
    const points = model.get("points");
    if (!points.length || !sheet.complete || !sheet.naturalWidth) return;
    stage.classList.remove("empty");
    const side = Math.min(fit.side * Math.sqrt(view.scale), 1.6 * LARGE);
    works.forEach((node, i) => {
      const [x, y] = toStage(points[i]);
      const [width, height] = sizeOf(i, side);
      if (node.side !== side) cut(node, i, (node.side = side));
      node.style.transform = `translate(${x - width / 2 - 3}px, ${y - height / 2 - 3}px)`;
    });
  }
  function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) { // about a place on the stage
    const scale = Math.min(Math.max(view.scale * factor, 1), 20);
    view.x += (x - stage.clientWidth / 2) * (1 / view.scale - 1 / scale);
    view.y += (y - stage.clientHeight / 2) * (1 / view.scale - 1 / scale);
    view.scale = scale;
    hold();
  }
  function hold() { // the map stays on the stage
    const room = (1 - 1 / view.scale) / 2;
    view.x = Math.min(Math.max(view.x, -room * stage.clientWidth), room * stage.clientWidth);
    view.y = Math.min(Math.max(view.y, -room * stage.clientHeight), room * stage.clientHeight);
    place();
  }

  // Pointer

  stage.addEventListener("wheel", (event) => {
    if (view.scale === 1 && event.deltaY > 0) return; // nothing to zoom out of: the page scrolls
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), ...within(event));
  }, { passive: false });
  function within(event) {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const on = works.indexOf(event.target);
    const add = event.shiftKey, kind = tool.value, path = [within(event)];
    let moved = false, last = path[0];
    stage.setPointerCapture(event.pointerId);
    const move = (now) => {
      const here = within(now);
      moved ||= Math.hypot(here[0] - path[0][0], here[1] - path[0][1]) > CLICK;
      if (!moved) return;
      if (kind === "move") {
        view.x -= (here[0] - last[0]) / view.scale;
        view.y -= (here[1] - last[1]) / view.scale;
        hold();
      } else if (kind === "rectangle") path[1] = here;
      else if (Math.hypot(here[0] - last[0], here[1] - last[1]) > 3) path.push(here);
      else return;
      last = here;
      draw(kind, path);
    };
    const up = () => {
      stage.removeEventListener("pointermove", move);
      draw("", []);
      if (!moved && on >= 0) {
        go(on);
        model.send(add ? { toggle: on } : { work: on });
      } else if (!moved && !add) model.send({ clear: true });
      else if (kind === "lasso" && path.length > 2) model.send({ polygon: path.map(toMap), add });
      else if (kind === "rectangle" && path.length === 2) model.send({ rectangle: path.map(toMap).flat(), add });
    };
    stage.addEventListener("pointermove", move);
    stage.addEventListener("lostpointercapture", up, { once: true });
  });
  function draw(kind, path) {
    const [first, second] = path;
    if (kind === "rectangle") outline.setAttribute("d", `M${first}H${second[0]}V${second[1]}H${first[0]}Z`);
    else outline.setAttribute("d", kind === "lasso" ? `M${path.join("L")}Z` : "");
  }

  // Keys

  const middle = () => (at < 0 ? [] : toStage(model.get("points")[at])); // of a zoom by keys
  const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  function towards([dx, dy]) { // the nearest work in a direction; what lies aside counts double
    const points = model.get("points");
    if (at < 0) return 0;
    const [x, y] = points[at];
    let best = at, least = Infinity;
    points.forEach(([a, b], i) => {
      const along = (a - x) * dx + (b - y) * dy, aside = Math.abs((a - x) * dy) + Math.abs((b - y) * dx);
      if (i !== at && along > 0 && along + 2 * aside < least) [best, least] = [i, along + 2 * aside];
    });
    return best;
  }
  stage.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !model.get("points").length) return;
    const n = works.length, key = event.key;
    if (DIRECTIONS[key]) go(towards(DIRECTIONS[key]));
    else if (key === "PageDown") go((at + 1) % n);
    else if (key === "PageUp") go((Math.max(at, 0) + n - 1) % n);
    else if (key === "Home") go(0);
    else if (key === "End") go(n - 1);
    else if (key === " ") at < 0 ? go(0) : model.send({ toggle: at });
    else if (key === "Escape") model.send({ clear: true });
    else if (key === "+" || key === "=") zoom(1.4, ...middle());
    else if (key === "-") zoom(1 / 1.4, ...middle());
    else if (key === "0") zoom(0);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  stage.addEventListener("focus", () => { if (at < 0 && stage.matches(":focus-visible") && model.get("points").length) go(0); });

  // Changes from the kernel

  const sheet = new Image();
  sheet.addEventListener("load", () => { works.forEach((node) => (node.side = 0)); place(); select(); });
  function picture() {
    const bytes = model.get("sprites");
    if (!bytes || !bytes.byteLength) return;
    if (sprites) URL.revokeObjectURL(sprites);
    sprites = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
    sheet.src = sprites;
  }
  function select() {
    const selected = new Set(model.get("selected"));
    works.forEach((node, i) => node.setAttribute("aria-selected", selected.has(i)));
    stage.classList.toggle("some", selected.size > 0);
    none.disabled = target.disabled = !selected.size;
    [...legend.children].forEach((button, i) => {
      const { members } = model.get("groups")[i];
      button.setAttribute("aria-pressed", members.every((member) => selected.has(member)));
    });
    strip.replaceChildren();
    if (!sheet.naturalWidth) return;
    for (const i of selected) {
      const node = make("div", { className: "work", title: titles[i][0] }, strip);
      node.setAttribute("role", "listitem");
      node.setAttribute("aria-label", titles[i][0]);
      node.dataset.work = i;
      node.style.borderColor = works[i].style.borderColor;
      cut(node, i, STRIP);
      node.addEventListener("pointerenter", () => look(i));
      node.addEventListener("pointerleave", () => look(at));
    }
    if (shown >= 0) mark(shown, true);
  }
  function chart() { // another map: points, groups and note
    Object.assign(view, { x: 0, y: 0, scale: 1 });
    measure();
    if (works[0].side) { // they have places to come from
      stage.classList.add("glide");
      setTimeout(() => stage.classList.remove("glide"), 400);
    }
    place();
    note.textContent = model.get("note");
    legend.setAttribute("aria-label", `${pickers.colour_by.selectedOptions[0]?.text}: press to select`);
    legend.replaceChildren();
    for (const group of model.get("groups")) {
      const button = make("button", { type: "button" }, legend);
      make("i", {}, button).style.background = group.colour;
      make("span", { textContent: group.label }, button);
      make("span", { className: "muted", textContent: group.members.length }, button).style.flex = "none";
      button.addEventListener("click", (event) => {
        const only = button.getAttribute("aria-pressed") === "true" && model.get("selected").length === group.members.length;
        model.send(only ? { clear: true } : { group: group.label, add: event.shiftKey });
      });
      group.members.forEach((i) => (works[i].style.borderColor = group.colour));
    }
    select();
  }
  function report() {
    const busy = model.get("busy");
    stage.setAttribute("aria-busy", busy);
    wait.style.display = busy ? "" : "none";
    status.textContent = busy ? "measuring paintings" : model.get("message");
    target.style.display = model.get("takes_target") ? "" : "none";
  }
  function choice() {
    for (const [name, select] of Object.entries(pickers)) select.value = model.get(name);
  }

  const size = new ResizeObserver(() => { measure(); hold(); });
  const listeners = [["change:sprites", picture], ["change:selected", select], ["change:revision", chart], ["change:busy change:message", report],
    ["change:kind change:projection change:colour_by", choice], ["msg:custom", come]];
  listeners.forEach(([what, listener]) => model.on(what, listener));
  choice();
  picture();
  chart();
  report();
  look(-1);
  size.observe(stage);
  return () => {
    listeners.forEach(([what, listener]) => model.off(what, listener));
    size.disconnect();
    [sprites, ...Object.values(pictures)].forEach((url) => url && URL.revokeObjectURL(url));
  };
}

export default { render };
