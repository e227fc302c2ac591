// Two pictures and a question. Pictures arrive as bytes, trials as numbers: the page has no name of a method.
const STYLE = `
.wb-blind { outline: none; color: var(--jp-content-font-color1, #1a1a1a); font-family: var(--jp-ui-font-family, sans-serif); max-width: 960px; }
.wb-blind:focus-visible { outline: 2px solid var(--jp-brand-color1, #0072b2); outline-offset: 4px; }
.wb-blind h3 { font-size: 16px; font-weight: 600; margin: 4px 0 8px; }
.wb-blind .pair { display: flex; gap: 12px; }
.wb-blind button.side { flex: 1; padding: 4px; border: 2px solid transparent; border-radius: 4px; background: var(--jp-layout-color2, #eee); cursor: pointer; min-width: 0; color: inherit; }
.wb-blind button.side:hover, .wb-blind button.side:focus-visible { border-color: var(--jp-brand-color1, #0072b2); outline: none; }
.wb-blind img { width: 100%; height: 420px; object-fit: contain; display: block; }
.wb-blind .foot { display: flex; gap: 12px; align-items: center; margin-top: 8px; font-size: 13px; color: var(--jp-content-font-color2, #5f5f5f); }
.wb-blind progress { flex: 1; }
.wb-blind .foot button { color: inherit; background: var(--jp-layout-color2, #eee); border: 1px solid var(--jp-border-color1, #bbb); border-radius: 3px; padding: 2px 10px; cursor: pointer; }
`;

function render({ model, el }) {
  make("style", { textContent: STYLE }, el);
  const root = make("div", { className: "wb-blind", tabIndex: 0 }, el);
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Blind study: arrow keys choose, U takes the last answer back");
  const question = make("h3", {}, root);
  question.setAttribute("aria-live", "polite");
  const pair = make("div", { className: "pair" }, root);
  const sides = {};
  for (const side of ["left", "right"]) {
    const button = make("button", { className: "side", type: "button" }, pair);
    button.setAttribute("aria-label", `The ${side} picture`);
    button.dataset.side = side;
    sides[side] = make("img", { alt: `${side} picture`, draggable: false }, button);
    button.addEventListener("click", () => vote(side));
  }
  const foot = make("div", { className: "foot" }, root);
  const count = make("span", {}, foot);
  const bar = make("progress", {}, foot);
  const tie = make("button", { type: "button", textContent: "Neither (↓)" }, foot);
  const undo = make("button", { type: "button", textContent: "Back (U)" }, foot);
  tie.addEventListener("click", () => vote("tie"));
  undo.addEventListener("click", () => back());

  let shown = performance.now();
  let waiting = false; // one answer for one pair, however fast the keys
  const urls = {};

  function vote(side) {
    if (waiting || model.get("finished") || (side === "tie" && !model.get("ties"))) return;
    waiting = true;
    model.send({ number: model.get("number"), side, seconds: (performance.now() - shown) / 1000 });
  }

  function back() {
    if (waiting || !model.get("undoable")) return;
    waiting = true;
    model.send({ undo: true });
  }

  function update() {
    waiting = false;
    const done = model.get("finished");
    question.textContent = done ? "That was the last pair. Thank you." : model.get("question");
    pair.style.display = done ? "none" : "flex";
    for (const side of ["left", "right"]) {
      if (urls[side]) URL.revokeObjectURL(urls[side]);
      const bytes = model.get(side);
      urls[side] = bytes && bytes.byteLength ? URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" })) : "";
      sides[side].src = urls[side];
    }
    const number = model.get("number"), total = model.get("total");
    count.textContent = done ? `${total} of ${total}` : `${number} of ${total}`;
    bar.max = total;
    bar.value = done ? total : number - 1;
    tie.style.display = model.get("ties") && !done ? "" : "none";
    undo.disabled = !model.get("undoable");
    shown = performance.now();
  }

  root.addEventListener("keydown", (event) => {
    if (event.repeat || event.altKey || event.ctrlKey || event.metaKey) return;
    const side = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie" }[event.key];
    if (side) vote(side);
    else if (event.key === "u" || event.key === "U") back();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change:revision", update);
  update();
  return () => {
    model.off("change:revision", update);
    Object.values(urls).forEach((url) => url && URL.revokeObjectURL(url));
  };
}

export default { render };
