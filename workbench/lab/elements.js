// The beginning of the scripts of several widgets: see page.py.
function make(tag, attributes, parent) {
  const node = Object.assign(document.createElement(tag), attributes);
  // JupyterLab takes keys as commands of the notebook (X cuts the cell), unless the focused element itself carries this attribute.
  if (node.tabIndex >= 0) node.dataset.lmSuppressShortcuts = "true";
  parent.appendChild(node);
  return node;
}
