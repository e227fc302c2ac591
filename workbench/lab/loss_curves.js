// Losses over evaluations, on a logarithmic scale, as SVG in the theme's own colours.
const STYLE = `
.wb-losses { --wb-total: #0072b2; --wb-style: #b35900; --wb-content: #00795b; color: var(--jp-content-font-color1, #1a1a1a); font-family: var(--jp-ui-font-family, sans-serif); max-width: 420px; }
body[data-jp-theme-light="false"] .wb-losses { --wb-total: #56b4e9; --wb-style: #f0a04b; --wb-content: #3ed6a8; }
.wb-losses svg { display: block; width: 100%; height: auto; font-size: 11px; }
.wb-losses text { fill: var(--jp-content-font-color2, #5f5f5f); }
.wb-losses .axis { stroke: var(--jp-border-color1, #bbb); fill: none; }
.wb-losses .stage { stroke: var(--jp-border-color1, #bbb); stroke-dasharray: 2 3; }
.wb-losses path.line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
`;
const WIDTH = 420, HEIGHT = 190, LEFT = 44, RIGHT = 58, TOP = 18, BOTTOM = 24, DECADES = 3.2;

function draw(tag, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}

function render({ model, el }) {
  const style = document.createElement("style");
  style.textContent = STYLE;
  const root = document.createElement("div");
  root.className = "wb-losses";
  el.append(style, root);

  function update() {
    const series = Object.entries(model.get("series")).filter(([, values]) => values.length > 1);
    root.replaceChildren();
    if (!series.length) return;
    const all = series.flatMap(([, values]) => values).filter((value) => value > 0);
    if (!all.length) return;
    const high = Math.log10(Math.max(...all)) + 0.05;
    const low = Math.max(Math.log10(Math.min(...all)) - 0.05, high - DECADES); // the content is its own at first: no loss
    const total = Math.max(model.get("total"), ...series.map(([, values]) => values.length));
    const x = (i) => LEFT + ((WIDTH - LEFT - RIGHT) * i) / Math.max(total - 1, 1);
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.max(Math.log10(value) - low, 0) / (high - low));
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" }, root);
    const last = series.map(([name, values]) => `${name} ${values.at(-1).toPrecision(3)}`).join(", ");
    svg.setAttribute("aria-label", `Losses after ${series[0][1].length} evaluations: ${last}`);
    draw("path", { class: "axis", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}` }, svg);
    for (const value of ticks(low, high)) {
      draw("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, svg, String(value));
      draw("path", { class: "axis", d: `M${LEFT - 3} ${y(value)}h3` }, svg);
    }
    let free = 0; // where the last name of a stage ended
    for (const [start, name] of model.get("boundaries")) {
      if (start) draw("path", { class: "stage", d: `M${x(start)} ${TOP}V${HEIGHT - BOTTOM}` }, svg);
      if (x(start) < free) continue;
      draw("text", { x: x(start) + 3, y: TOP - 6 }, svg, name);
      free = x(start) + 6.2 * name.length + 6;
    }
    draw("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, svg, `${series[0][1].length} of ${total} evaluations`);
    const labels = series.map(([name, values]) => ({ name, y: y(values.at(-1)) })).sort((a, b) => a.y - b.y);
    labels.forEach((label, i) => { if (i) label.y = Math.max(label.y, labels[i - 1].y + 13); });
    const over = Math.max(0, labels.at(-1).y - (HEIGHT - BOTTOM));
    for (const [name, values] of series) {
      const points = values.map((value, i) => (value > 0 ? `${x(i).toFixed(1)} ${y(value).toFixed(1)}` : null)).filter(Boolean);
      draw("path", { class: "line", d: `M${points.join("L")}`, style: `stroke:var(--wb-${name})` }, svg);
      const label = labels.find((found) => found.name === name);
      draw("text", { x: WIDTH - RIGHT + 5, y: label.y - over + 4, style: `fill:var(--wb-${name})` }, svg, name);
    }
  }
  function ticks(low, high) { // 1, 2, 5 a decade where they fit
    const found = [];
    for (let decade = Math.floor(low); decade <= high; decade++) {
      for (const digit of high - low < 2.2 ? [1, 2, 5] : [1]) {
        const value = Number(`${digit}e${decade}`);
        if (Math.log10(value) >= low && Math.log10(value) <= high) found.push(value);
      }
    }
    return found;
  }
  model.on("change:series change:total", update);
  update();
  return () => model.off("change:series change:total", update);
}

export default { render };
