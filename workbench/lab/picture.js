// One picture, as bytes, with its words.
function render({ model, el }) {
  const image = document.createElement("img");
  image.draggable = false;
  image.style.cssText = "display:block;height:auto;object-fit:contain";
  el.appendChild(image);
  let url = "";
  function update() {
    const bytes = model.get("data");
    const before = url;
    url = bytes && bytes.byteLength ? URL.createObjectURL(new Blob([bytes])) : "";
    image.style.display = url ? "block" : "none";
    image.style.width = `min(100%, ${model.get("width")}px)`;
    image.alt = model.get("alt");
    if (url) image.src = url;
    else image.removeAttribute("src");
    if (before) URL.revokeObjectURL(before);
  }
  const words = () => (image.alt = model.get("alt"));
  model.on("change:data change:width", update);
  model.on("change:alt", words);
  update();
  return () => {
    model.off("change:data change:width", update);
    model.off("change:alt", words);
    if (url) URL.revokeObjectURL(url);
  };
}

export default { render };
