// What the controls of ipywidgets lack, for all that stand in the same box.
const ARROW = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 18 18'%3E%3Cpath fill='%23ddd' d='M4 6l5 5 5-5z'/%3E%3C/svg%3E";
// The arrow of a dropdown is black, on a dark ground, too.
const STYLE = `
.jp-mod-dark .wb-panel .widget-dropdown > select, [data-jp-theme-light="false"] .wb-panel .widget-dropdown > select { background-image: url("${ARROW}") !important; }
`;

function render({ el }) {
  make("style", { textContent: STYLE }, el);
  let box = null;

  // The handle of a slider has no name: a screen reader would say its value alone.
  function name() {
    for (const slider of box.querySelectorAll(".widget-slider")) {
      const handle = slider.querySelector(".noUi-handle:not([aria-label])");
      if (handle) handle.setAttribute("aria-label", slider.querySelector(".widget-label").textContent);
    }
  }
  const observer = new MutationObserver(name); // sliders are made one after the other, and again
  let frame = requestAnimationFrame(function attached() {
    box = el.isConnected && el.parentElement;
    if (!box) {
      frame = requestAnimationFrame(attached);
      return;
    }
    observer.observe(box, { childList: true, subtree: true });
    name();
  });
  return () => {
    cancelAnimationFrame(frame);
    observer.disconnect();
  };
}

export default { render };
