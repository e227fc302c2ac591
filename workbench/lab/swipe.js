// Two to six pictures of one size: a slider between two of them, and one zoom for all.
const STYLE = `
.wb-compare { color: var(--jp-content-font-color1, #1a1a1a); font-family: var(--jp-ui-font-family, sans-serif); font-size: 13px; }
.wb-compare .stage { position: relative; overflow: hidden; touch-action: none; background: var(--jp-layout-color2, #eee); }
.wb-compare img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: fill; user-select: none; transform-origin: 0 0; }
.wb-compare .over { position: absolute; inset: 0; overflow: hidden; }
.wb-compare .bar { position: absolute; top: 0; bottom: 0; width: 25px; margin-left: -12px; cursor: ew-resize; background: linear-gradient(#fff, #fff) center / 3px 100% no-repeat; filter: drop-shadow(0 0 2px #000); }
.wb-compare .bar:focus-visible { outline: 3px solid var(--jp-brand-color1, #0072b2); }
.wb-compare .all { display: grid; gap: 8px; margin-top: 8px; }
.wb-compare .cell { position: relative; touch-action: none; overflow: hidden; background: var(--jp-layout-color2, #eee); }
.wb-compare .names { display: flex; gap: 8px; align-items: center; margin: 4px 0; flex-wrap: wrap; }
.wb-compare select { color: inherit; background: var(--jp-layout-color1, #fff); border: 1px solid var(--jp-border-color1, #bbb); }
.wb-compare figcaption { padding: 2px 0; }
.wb-compare figure { margin: 0; }
`;

function render({ model, el }) {
  make("style", { textContent: STYLE }, el);
  const root = make("div", { className: "wb-compare" }, el);
  const names = model.get("names");
  const urls = model.get("pictures").map((bytes) => URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" })));
  const ratio = model.get("ratio");
  const view = { x: 0, y: 0, scale: 1 };

  const choose = make("div", { className: "names" }, root);
  const pickers = ["left", "right"].map((side) => {
    const label = make("label", { textContent: `${side} ` }, choose);
    const select = make("select", {}, label);
    names.forEach((name, i) => make("option", { value: i, textContent: name }, select));
    select.value = model.get(side);
    select.addEventListener("change", () => { model.set(side, Number(select.value)); model.save_changes(); });
    return select;
  });
  make("span", { textContent: "scroll to zoom, drag to move, double click to see all" }, choose);

  const stage = make("div", { className: "stage" }, root);
  stage.style.aspectRatio = String(ratio);
  stage.style.maxWidth = `${Math.min(720, 640 * ratio)}px`; // an upright picture is to be seen whole
  const right = make("img", { alt: "", draggable: false }, stage);
  const over = make("div", { className: "over" }, stage);
  const left = make("img", { alt: "", draggable: false }, over);
  const bar = make("div", { className: "bar", tabIndex: 0 }, stage);
  bar.setAttribute("role", "slider");
  bar.setAttribute("aria-label", "how much of the left picture is seen");
  bar.setAttribute("aria-valuemin", 0);
  bar.setAttribute("aria-valuemax", 100);

  const all = make("div", { className: "all" }, root);
  all.style.gridTemplateColumns = `repeat(${Math.min(names.length, 3)}, minmax(0, 240px))`;
  const small = names.map((name, i) => {
    const figure = make("figure", {}, all);
    const cell = make("div", { className: "cell" }, figure);
    cell.style.aspectRatio = String(ratio);
    const image = make("img", { alt: name, src: urls[i], draggable: false }, cell);
    make("figcaption", { textContent: name }, figure);
    zoomable(cell);
    return image;
  });

  function place() {
    const at = model.get("position");
    over.style.clipPath = `inset(0 ${100 * (1 - at)}% 0 0)`;
    bar.style.left = `${100 * at}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * at));
  }
  function change() {
    pickers[0].value = model.get("left");
    pickers[1].value = model.get("right");
    left.src = urls[model.get("left")];
    right.src = urls[model.get("right")];
    left.alt = names[model.get("left")];
    right.alt = names[model.get("right")];
  }
  function zoom() {
    const move = `scale(${view.scale}) translate(${-100 * view.x}%, ${-100 * view.y}%)`;
    [left, right, ...small].forEach((image) => (image.style.transform = move));
  }
  function hold() {
    const room = 1 - 1 / view.scale;
    view.x = Math.min(Math.max(view.x, 0), room);
    view.y = Math.min(Math.max(view.y, 0), room);
    zoom();
  }
  function zoomable(node) {
    node.addEventListener("wheel", (event) => {
      if (view.scale === 1 && event.deltaY > 0) return; // nothing to zoom out of: the page scrolls
      event.preventDefault();
      const box = node.getBoundingClientRect();
      const px = (event.clientX - box.left) / box.width, py = (event.clientY - box.top) / box.height;
      const scale = Math.min(Math.max(view.scale * Math.exp(-event.deltaY / 300), 1), 16);
      view.x += px / view.scale - px / scale;
      view.y += py / view.scale - py / scale;
      view.scale = scale;
      hold();
    }, { passive: false });
    node.addEventListener("dblclick", () => { Object.assign(view, { x: 0, y: 0, scale: 1 }); zoom(); });
    drag(node, (dx, dy) => { view.x -= dx / view.scale; view.y -= dy / view.scale; hold(); });
  }
  function drag(node, moved) {
    node.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      node.setPointerCapture(event.pointerId);
      let last = event;
      const box = (node === bar ? stage : node).getBoundingClientRect();
      const move = (now) => {
        moved((now.clientX - last.clientX) / box.width, (now.clientY - last.clientY) / box.height);
        last = now;
      };
      const up = () => {
        node.removeEventListener("pointermove", move);
        model.save_changes();
      };
      node.addEventListener("pointermove", move);
      node.addEventListener("lostpointercapture", up, { once: true });
      event.stopPropagation();
    });
  }
  function slide(by) {
    model.set("position", Math.min(Math.max(model.get("position") + by, 0), 1));
    place();
  }
  drag(bar, (dx) => slide(dx));
  zoomable(stage);
  bar.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
    if (by === undefined) return;
    slide(by);
    model.save_changes();
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change:position", place);
  model.on("change:left change:right", change);
  change();
  place();
  return () => urls.forEach((url) => URL.revokeObjectURL(url));
}

export default { render };
