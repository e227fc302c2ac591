// Buttons that report a press together with the values that the sliders of the page show.
const STYLE = `
.wb-buttons { display: flex; gap: 4px; font-family: var(--jp-ui-font-family, sans-serif); font-size: 13px; }
.wb-buttons button { flex: 1; height: 28px; padding: 0 10px; color: var(--jp-ui-font-color1, #1a1a1a); font: inherit; white-space: nowrap; background: var(--jp-layout-color2, #eee); border: 1px solid var(--jp-border-color1, #bbb); border-radius: 2px; cursor: pointer; }
.wb-buttons button.primary { color: var(--jp-ui-inverse-font-color1, #fff); background: var(--jp-brand-color1, #0072b2); border-color: var(--jp-brand-color1, #0072b2); }
.wb-buttons button:disabled { opacity: 0.5; cursor: default; }
.wb-buttons button:focus-visible { outline: 2px solid var(--jp-brand-color1, #0072b2); outline-offset: 1px; }
`;

function render({ model, el }) {
  make("style", { textContent: STYLE }, el);
  const root = make("div", { className: "wb-buttons" }, el);
  const nodes = model.get("buttons").map((button) => {
    const node = make("button", { type: "button", textContent: button.text, title: button.tooltip }, root);
    node.classList.toggle("primary", button.primary);
    node.addEventListener("click", () => press(button.name));
    return [node, button.name];
  });

  async function press(name) {
    const values = {};
    for (const [slider, id] of Object.entries(model.get("models"))) {
      values[slider] = (await model.widget_manager.get_model(id)).get("value");
    }
    model.send({ press: name, values });
  }

  function update() {
    const enabled = new Set(model.get("enabled"));
    for (const [node, name] of nodes) node.disabled = !enabled.has(name);
  }
  model.on("change:enabled", update);
  update();
  return () => model.off("change:enabled", update);
}

export default { render };
