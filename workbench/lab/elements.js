// What the scripts of several widgets begin with: see page.py.
function make(tag, attributes, parent) {
  const node = Object.assign(document.createElement(tag), attributes);
  // JupyterLab's keys belong to the notebook, its X cuts the cell; what it asks is the element that has the focus, not those around it.
  if (node.tabIndex >= 0) node.dataset.lmSuppressShortcuts = "true";
  parent.appendChild(node);
  return node;
}
