// Small repairs that need the finished page: what scrolls can be reached by keyboard, what has no name gets one.
(() => {
  // a page from the disk may not read other pages: the hits of a search then come without excerpts, and without errors
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

  const wide = "div.math, mjx-container[display], .highlight pre, .output pre, .pst-scrollable-table-container, .cell_output .output, .figure-scroll, .table-scroll";

  function name(element) {
    if (element.matches(".figure-scroll")) return "Figure, scrolls sideways";
    if (element.matches("pre")) return "Code, scrolls sideways";
    if (element.matches("div.math, mjx-container")) return "Formula, scrolls sideways";
    return "Table, scrolls sideways";
  }

  // a box that scrolls must be able to hold the focus; a box that does not must not be a stop on the way
  function reach() {
    for (const element of document.querySelectorAll(wide)) {
      if (element.dataset.reach === undefined) element.dataset.reach = element.hasAttribute("tabindex") ? "given" : "";
      if (element.dataset.reach === "given") continue;
      if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== "visible") {
        element.tabIndex = 0;
        if (!element.hasAttribute("role")) element.setAttribute("role", "group");
        if (!element.hasAttribute("aria-label")) element.setAttribute("aria-label", name(element));
      } else if (element.hasAttribute("tabindex")) {
        element.removeAttribute("tabindex");
      }
    }
  }

  function wrapFigures() {
    for (const image of document.querySelectorAll(".bd-article figure img, .bd-article .cell_output img")) {
      if (image.closest(".figure-scroll")) continue;
      const box = document.createElement("div");
      box.className = "figure-scroll";
      const target = image.parentElement.matches("a") ? image.parentElement : image;
      target.replaceWith(box);
      box.append(target);
    }
  }

  // docutils gives bibliographies roles that have been taken out of the standard
  function roles() {
    for (const element of document.querySelectorAll(".citation-list, .citation")) element.removeAttribute("role");
  }

  document.addEventListener("DOMContentLoaded", () => {
    roles();
    wrapFigures();
    reach();
    addEventListener("resize", reach);
    addEventListener("load", () => {
      reach();
      window.MathJax?.startup?.promise?.then(reach);
    });
  });
})();
