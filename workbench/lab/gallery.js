// A row of thumbnails with weights and buttons. Pictures are requested by key, and kept.
const STYLE = `
.wb-gallery { color: var(--jp-content-font-color1, #1a1a1a); font-family: var(--jp-ui-font-family, sans-serif); font-size: 11px; line-height: 1.25; display: flex; gap: 8px; overflow-x: auto; padding: 3px; }
.wb-gallery.wrap { flex-wrap: wrap; max-height: 460px; overflow-y: auto; }
.wb-gallery.dimmed { opacity: 0.35; pointer-events: none; }
.wb-gallery .item { flex: none; display: flex; flex-direction: column; width: calc(var(--height) + 8px); }
.wb-gallery .pick { padding: 2px; border: 2px solid transparent; border-radius: 4px; background: none; color: inherit; font: inherit; display: block; width: 100%; box-sizing: border-box; }
.wb-gallery button.pick { cursor: pointer; }
.wb-gallery .marked .pick { border-color: var(--jp-brand-color1, #0072b2); }
.wb-gallery button:focus-visible { outline: 2px solid var(--jp-brand-color1, #0072b2); outline-offset: 1px; }
.wb-gallery button.pick:hover { background: var(--jp-layout-color2, #eee); }
.wb-gallery img { width: 100%; height: var(--height); object-fit: contain; display: block; background: var(--jp-layout-color2, #eee); }
.wb-gallery img.none { visibility: hidden; }
.wb-gallery .bar { height: 4px; margin: 3px 2px 2px; background: var(--jp-layout-color3, #ddd); }
.wb-gallery .bar div { height: 100%; background: var(--jp-brand-color1, #0072b2); }
.wb-gallery input { display: block; width: calc(100% - 4px); height: 14px; margin: 1px 2px; accent-color: var(--jp-brand-color1, #0072b2); cursor: ew-resize; }
.wb-gallery input:focus-visible { outline: 2px solid var(--jp-brand-color1, #0072b2); outline-offset: 1px; }
.wb-gallery .title { padding: 0 2px; overflow: hidden; text-overflow: ellipsis; display: -webkit-box; -webkit-line-clamp: var(--lines); -webkit-box-orient: vertical; overflow-wrap: anywhere; }
.wb-gallery .note { padding: 0 2px; color: var(--jp-content-font-color2, #5f5f5f); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.wb-gallery .actions { display: flex; gap: 3px; margin-top: auto; padding: 3px 2px 0; }
.wb-gallery .actions button { flex: 1; min-width: 0; font-size: 11px; padding: 1px 0; color: inherit; background: var(--jp-layout-color2, #eee); border: 1px solid var(--jp-border-color1, #bbb); border-radius: 3px; cursor: pointer; }
.wb-gallery .marked .actions :is([data-action="pin"], [data-action="mark"]) { background: var(--jp-brand-color1, #0072b2); border-color: var(--jp-brand-color1, #0072b2); color: var(--jp-ui-inverse-font-color1, #fff); }
@media (forced-colors: active) { /* where the system alone has colours, and shows what is transparent */
  .wb-gallery .pick { border-color: Canvas; }
  .wb-gallery .marked .pick { border-color: Highlight; }
  .wb-gallery .bar div { forced-color-adjust: none; background: Highlight; }
}
`;

function render({ model, el }) {
  make("style", { textContent: STYLE }, el);
  const root = make("div", { className: model.get("wrap") ? "wb-gallery wrap" : "wb-gallery" }, el);
  root.setAttribute("role", "list");
  root.setAttribute("aria-label", model.get("label"));
  root.style.setProperty("--height", `${model.get("height")}px`);
  root.style.setProperty("--lines", model.get("lines"));
  const urls = new Map(); // key -> object URL, "" while it is under way
  const cells = new Map(); // key -> the parts of an item on show
  let dragged = ""; // the key whose weight is being dragged, which the kernel's answers must not move under the mouse
  let late = null; // a weight that is to be sent, the latest alone

  function build(key) {
    const item = document.createElement("div");
    item.className = "item";
    item.dataset.key = key;
    item.setAttribute("role", "listitem");
    const pick = make(model.get("choosable") ? "button" : "div", { className: "pick" }, item);
    const image = make("img", { draggable: false, className: "none" }, pick);
    const bar = make("div", { className: "bar" }, item);
    const weight = make("div", {}, bar);
    const slider = model.get("weighable") ? make("input", { type: "range", min: "0", max: "1", step: "0.005" }, item) : null;
    if (slider) weigh(slider, key);
    const title = make("div", { className: "title" }, item);
    const note = make("div", { className: "note" }, item);
    const actions = make("div", { className: "actions" }, item);
    if (model.get("choosable")) press(pick, key, "choose");
    const buttons = model.get("actions").map((action) => {
      const button = make("button", { type: "button", textContent: action.text }, actions);
      button.dataset.action = action.name;
      press(button, key, action.name);
      return [button, action];
    });
    return { item, pick, image, bar, weight, slider, title, note, buttons };
  }

  function press(button, key, action) {
    button.type = "button";
    button.addEventListener("click", () => model.send({ key, action }));
  }

  function weigh(slider, key) {
    slider.addEventListener("pointerdown", () => (dragged = key));
    for (const end of ["pointerup", "pointercancel", "change"]) slider.addEventListener(end, () => (dragged = ""));
    slider.addEventListener("input", () => {
      if (late === null) setTimeout(() => { model.send(late); late = null; }, 40);
      late = { key, weight: Number(slider.value) };
    });
  }

  function update() {
    const items = model.get("items");
    const keep = new Set(items.map((found) => found.key));
    const focused = root.contains(document.activeElement) ? document.activeElement : null;
    const place = focused && [...root.children].indexOf(focused.closest(".item"));
    for (const [key, cell] of cells) if (!keep.has(key)) { cell.item.remove(); cells.delete(key); }
    const wanted = [];
    items.forEach((found, i) => {
      if (!cells.has(found.key)) cells.set(found.key, build(found.key));
      const cell = cells.get(found.key);
      const share = found.weight === null ? "" : `${(100 * found.weight).toFixed(found.weight < 0.0995 ? 1 : 0)}% `;
      cell.item.classList.toggle("marked", found.marked);
      cell.image.alt = found.title;
      cell.title.textContent = share + found.title.replace(/[_.-]/g, "$&\u200b"); // where a long name may be broken
      cell.item.title = found.title + (found.note ? `, ${found.note}` : "");
      cell.note.textContent = found.note;
      cell.note.style.display = found.note ? "" : "none";
      cell.bar.style.display = found.weight === null || cell.slider ? "none" : "";
      if (cell.slider) {
        cell.slider.disabled = items.length < 2; // there is nothing to share the weight with
        cell.slider.style.display = found.weight === null ? "none" : "";
        cell.slider.setAttribute("aria-label", `Weight of ${found.title}`);
        if (dragged !== found.key) cell.slider.value = found.weight ?? 0;
      }
      cell.weight.style.width = `${100 * (found.weight ?? 0)}%`;
      if (model.get("choosable")) {
        cell.pick.setAttribute("aria-label", found.title);
        cell.pick.setAttribute("aria-pressed", String(found.marked));
      }
      for (const [button, action] of cell.buttons) {
        button.title = action.tooltip.replace("{title}", found.title);
        button.setAttribute("aria-label", button.title);
      }
      if (cell.item !== root.children[i]) root.insertBefore(cell.item, root.children[i] ?? null);
      if (urls.has(found.key)) { if (cell.image.getAttribute("src") !== urls.get(found.key)) see(found.key); }
      else { urls.set(found.key, ""); wanted.push(found.key); }
    });
    for (let i = 0; i < wanted.length; i += 8) model.send({ want: wanted.slice(i, i + 8) });
    if (focused && root.contains(focused)) focused.focus({ preventScroll: true }); // an item that moves loses it
    else if (focused && root.children.length) {
      stops(root.children[Math.min(Math.max(place, 0), root.children.length - 1)])[0]?.focus();
    }
    rove();
  }

  const stops = (item) => [...item.querySelectorAll("button, input")];

  function rove() { // one item at a time is in the page's tab order; arrows lead to the others
    const items = [...root.children];
    const now = items.find((item) => item.contains(document.activeElement)) ?? items[0];
    items.forEach((item) => stops(item).forEach((stop) => (stop.tabIndex = item === now ? 0 : -1)));
  }

  function see(key) {
    const cell = cells.get(key);
    if (!cell) return;
    if (urls.get(key)) cell.image.src = urls.get(key);
    else cell.image.removeAttribute("src"); // under way, or not to be had
    cell.image.classList.toggle("none", !urls.get(key));
  }

  root.addEventListener("focusin", rove);
  root.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const items = [...root.children];
    const at = items.findIndex((item) => item.contains(document.activeElement));
    if (by === undefined || at < 0 || event.target.tagName === "INPUT") return; // arrows move a weight
    const which = stops(items[at]).indexOf(document.activeElement);
    stops(items[Math.min(Math.max(at + by, 0), items.length - 1)])[which]?.focus();
    event.preventDefault();
    event.stopPropagation();
  });

  function receive(message, buffers) {
    if (message.picture === undefined) return;
    const bytes = buffers[0];
    urls.set(message.picture, bytes && bytes.byteLength ? URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" })) : "");
    see(message.picture);
  }
  model.on("msg:custom", receive);
  const dim = () => root.classList.toggle("dimmed", model.get("dimmed"));
  model.on("change:items", update);
  model.on("change:dimmed", dim);
  update();
  dim();
  return () => {
    model.off("msg:custom", receive);
    model.off("change:items", update);
    model.off("change:dimmed", dim);
    urls.forEach((url) => url && URL.revokeObjectURL(url));
  };
}

export default { render };
