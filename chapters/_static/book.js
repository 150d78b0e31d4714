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

  // the ledger: its rows are filtered and sorted where they stand; ?verdict=fails in the address chooses beforehand
  function ledger() {
    const tools = document.querySelector(".ledger-tools"), list = document.querySelector(".ledger");
    if (!tools) return;
    const items = [...list.children], rows = items.filter(item => item.matches(".ledger-row"));
    const words = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));
    for (const [name, value] of new URLSearchParams(location.search)) if (tools.elements[name]) tools.elements[name].value = value;

    function show() {
      const asked = Object.fromEntries(new FormData(tools)), sought = asked.words.toLowerCase().split(/\s+/);
      for (const row of rows)
        row.hidden = !["verdict", "chapter", "subject"].every(name => !asked[name] || row.dataset[name] === asked[name])
          || !sought.every(word => words.get(row).includes(word));
      for (const head of items.filter(item => item.matches(".ledger-chapter")))
        head.hidden = asked.sort || !rows.some(row => !row.hidden && row.dataset.chapter === head.dataset.chapter);
      const place = row => Number(row.getAttribute("data-by-" + asked.sort));
      list.append(...(asked.sort ? [...items].sort((a, b) => place(a) - place(b)) : items));
      const shown = rows.filter(row => !row.hidden).length;
      tools.querySelector("output").textContent = shown + " of " + rows.length + " claims";
      document.querySelector(".ledger-none").hidden = shown > 0;
    }

    function unfold() {
      const row = rows.find(row => row.id && "#" + row.id === location.hash);
      if (!row) return;
      if (row.hidden) { tools.reset(); show(); }
      row.querySelector("details").open = true;
      row.scrollIntoView();
    }

    tools.hidden = false;
    tools.addEventListener("input", show);
    tools.addEventListener("submit", event => event.preventDefault());
    addEventListener("hashchange", unfold);
    show();
    unfold();
  }

  document.addEventListener("DOMContentLoaded", () => {
    roles();
    ledger();
    wrapFigures();
    reach();
    addEventListener("resize", reach);
    addEventListener("load", () => {
      reach();
      window.MathJax?.startup?.promise?.then(reach);
    });
  });
})();
