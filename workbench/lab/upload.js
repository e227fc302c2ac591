// A button for a picture from the machine of the browser, chosen or dropped on it; it is sent in parts.
const STYLE = `
.wb-upload { display: flex; flex-wrap: wrap; gap: 2px 8px; align-items: center; padding: 3px; border: 1px dashed transparent; font-family: var(--jp-ui-font-family, sans-serif); font-size: 12px; color: var(--jp-content-font-color2, #5f5f5f); }
.wb-upload.over { border-color: var(--jp-brand-color1, #0072b2); }
.wb-upload button { color: var(--jp-ui-font-color1, #1a1a1a); font: inherit; background: var(--jp-layout-color2, #eee); border: 1px solid var(--jp-border-color1, #bbb); border-radius: 2px; padding: 2px 8px; cursor: pointer; }
.wb-upload button:focus-visible { outline: 2px solid var(--jp-brand-color1, #0072b2); outline-offset: 1px; }
`;
const PART = 1 << 19; // bytes; a message has a limit

function render({ model, el }) {
  make("style", { textContent: STYLE }, el);
  const root = make("div", { className: "wb-upload" }, el);
  const button = make("button", { type: "button", textContent: "Upload …", title: model.get("hint") }, root);
  const input = make("input", { type: "file", accept: "image/*", hidden: true }, root);
  const status = make("span", { textContent: "or drop a picture here" }, root);
  status.setAttribute("role", "status");

  async function send(file) {
    if (!file) return;
    if (file.size > model.get("most")) {
      status.textContent = `${file.name} is larger than ${model.get("most") >> 20} MB`;
      return;
    }
    const of = Math.max(1, Math.ceil(file.size / PART));
    for (let part = 0; part < of; part++) {
      status.textContent = of > 1 ? `${file.name}: ${Math.round((100 * part) / of)} %` : file.name;
      model.send({ name: file.name, part, of }, undefined, [await file.slice(part * PART, (part + 1) * PART).arrayBuffer()]);
    }
    status.textContent = file.name;
  }
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => { send(input.files[0]); input.value = ""; });
  for (const event of ["dragover", "dragleave", "drop"]) {
    root.addEventListener(event, (dragged) => {
      dragged.preventDefault();
      dragged.stopPropagation();
      root.classList.toggle("over", event === "dragover");
      if (event === "drop") send(dragged.dataTransfer.files[0]);
    });
  }
}

export default { render };
