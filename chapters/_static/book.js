// Small repairs that need the finished page: what scrolls can be reached by keyboard, what has no name gets one.
(() => {
  // The search fetches every page that it finds, to show an excerpt. A page from the disk may not fetch another, so the
  // texts come from a script for each page, excerpts/PAGE.js: pieces of text with the id at which each begins.
  if (typeof DOCUMENTATION_OPTIONS !== "undefined" && DOCUMENTATION_OPTIONS.pagename === "search") {
    const excerpts = window.excerpts = {}, loads = {};
    const load = page => loads[page] ??= new Promise(done => {
      const script = document.createElement("script");
      script.onload = script.onerror = done;
      script.src = document.documentElement.dataset.content_root + "_static/excerpts/" + page + ".js";
      document.head.append(script);
    });
    window.fetch = async address => {
      const page = address.replace(/^(\.\/)+|\.html$/g, ""), main = document.createElement("div");
      await load(page);
      main.setAttribute("role", "main");
      for (const [id, text] of excerpts[page] ?? []) {
        const piece = document.createElement("div");
        if (id) piece.id = id;
        piece.textContent = text + " ";
        main.append(piece);
      }
      return { text: async () => main.outerHTML };
    };
  }

  const wide = "div.math, mjx-container[display], .highlight pre, .output pre, .pst-scrollable-table-container, .cell_output .output, .table-scroll";

  function name(element) {
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

  // a comma stays in the line of the formula before it, a bracket in that of the formula after it
  function keep() {
    for (const formula of document.querySelectorAll(".bd-article span.math")) {
      const { previousSibling: before, nextSibling: after } = formula;
      const opening = before?.nodeType === Node.TEXT_NODE ? before.data.match(/[(\[“‘]*$/)[0] : "";
      const closing = after?.nodeType === Node.TEXT_NODE ? after.data.match(/^[,.;:!?)\]’”…]*/)[0] : "";
      if (!opening && !closing) continue;
      const line = document.createElement("span");
      line.className = "kept";
      formula.before(line);
      line.append(opening, formula, closing);
      if (opening) before.data = before.data.slice(0, -opening.length);
      if (closing) after.data = after.data.slice(closing.length);
    }
  }

  // a formula wider than its line is drawn smaller, down to little more than half; what is wider still scrolls
  function fit() {
    const formulas = [...document.querySelectorAll(".bd-article mjx-container:not([width])")].filter(e => !e.closest("table"));
    for (const formula of formulas) formula.style.fontSize = "";
    const ratios = formulas.map(formula => {
      const display = formula.hasAttribute("display"), box = display ? formula : formula.closest("p, li, dd, div, section");
      const style = getComputedStyle(box), room = box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
      const marks = formula.closest(".kept") ? 14 : 2; // pixels for a bracket and a comma
      return display ? room / formula.scrollWidth : (room - marks) / formula.querySelector("svg").getBoundingClientRect().width;
    });
    formulas.forEach((formula, k) => {
      if (ratios[k] > 0 && ratios[k] < 1) formula.style.fontSize = Math.max(55, Math.floor(100 * ratios[k])) + "%";
    });
  }

  // a figure fits the page; a click opens it large, in a box that scrolls
  function enlarge() {
    for (const image of document.querySelectorAll(".bd-article figure img, .bd-article .cell_output img")) {
      const link = image.closest("a") ?? document.createElement("a");
      if (!link.contains(image)) {
        image.replaceWith(link);
        link.append(image);
      }
      link.classList.add("enlarge");
      link.href = image.getAttribute("src");
      link.title = "Open the figure large";
      const shape = () => image.classList.toggle("tall", image.naturalHeight > 1.3 * image.naturalWidth);
      image.complete ? shape() : image.addEventListener("load", shape);
      link.addEventListener("click", event => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        const dialog = document.createElement("dialog"), box = document.createElement("div"), close = document.createElement("button");
        dialog.className = "figure-large";
        dialog.setAttribute("aria-label", "Figure");
        close.textContent = "Close";
        close.addEventListener("click", () => dialog.close());
        box.tabIndex = 0;
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", "Figure, scrolls");
        box.append(image.cloneNode());
        dialog.append(close, box);
        dialog.addEventListener("close", () => dialog.remove());
        document.body.append(dialog);
        dialog.showModal();
      });
    }
  }

  // Formulas, fonts and pictures move what a link leads to: scroll there again until they have settled, unless the
  // reader scrolls first or comes back to a page whose position the browser restores.
  function land() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target || performance.getEntriesByType("navigation")[0]?.type !== "navigate") return;
    let left = false;
    for (const kind of ["wheel", "touchmove", "keydown", "pointerdown"])
      addEventListener(kind, () => { left = true; }, { once: true, passive: true });
    const again = () => { if (!left) target.scrollIntoView({ behavior: "instant" }); };
    const moves = new ResizeObserver(again);
    moves.observe(document.querySelector(".bd-article"));
    addEventListener("load", async () => {
      await Promise.all([window.MathJax?.startup?.promise, document.fonts.ready]);
      again();
      setTimeout(() => moves.disconnect(), 1000);
    });
  }

  // paper is white, and nobody can unfold it: print in light colours, with the solutions open
  function paper() {
    const root = document.documentElement;
    let theme = null, opened = [];
    function begin() {
      if (theme !== null) return;
      theme = root.dataset.theme;
      root.dataset.theme = "light";
      opened = [...document.querySelectorAll(".bd-article details.sd-dropdown:not([open])")];
      for (const details of opened) details.open = true;
    }
    function end() {
      if (theme === null) return;
      root.dataset.theme = theme;
      theme = null;
      for (const details of opened) details.open = false;
    }
    addEventListener("beforeprint", begin);
    addEventListener("afterprint", end);
    matchMedia("print").addEventListener("change", event => event.matches ? begin() : end());
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

  // Exercises that check themselves: a number typed in any usual form against a number of the run.
  function number(text) {
    const typed = text.trim().replace("\u2212", "-").replace(/\s*%$/, "");
    return /^[-+]?(\d+|\d{1,3}(,\d{3})+)?(\.\d*)?(e[-+]?\d+)?$/i.test(typed) && /\d/.test(typed) ? Number(typed.replaceAll(",", "")) : NaN;
  }

  function checks() {
    for (const field of document.querySelectorAll(".check")) {
      const input = field.querySelector("input"), output = field.querySelector("output");
      const check = () => {
        const value = number(input.value), off = Math.abs(value - Number(field.dataset.answer));
        const right = off <= Number(field.dataset.within) * (1 + 1e-9);
        output.className = Number.isFinite(value) ? right ? "right" : "wrong" : "";
        output.textContent = !Number.isFinite(value) ? "Enter a number." : input.value.trim() + (right ? " is right." : " is not it yet.");
      };
      field.querySelector("button").addEventListener("click", check);
      input.addEventListener("keydown", event => { if (event.key === "Enter") check(); });
      field.hidden = false;
    }
  }

  // Cards beside links to terms, propositions and works: on hover and on focus by keyboard, until the pointer has left
  // both link and card, the focus moves on, or Escape is pressed.
  function cards() {
    const texts = JSON.parse(document.getElementById("hover-cards")?.textContent ?? "{}");
    const card = document.createElement("div");
    let owner = null, timer = 0;
    card.className = card.id = "hover-card";
    card.setAttribute("role", "tooltip");

    function hide() {
      clearTimeout(timer);
      owner?.removeAttribute("aria-describedby");
      owner = null;
      card.remove();
    }

    function place(link, x) {
      const lines = [...link.getClientRects()], line = lines.find(r => r.left <= x && x <= r.right) ?? lines[0];
      for (const formula of card.querySelectorAll("mjx-container[display]"))
        if (formula.scrollWidth > formula.clientWidth) formula.style.fontSize = 100 * formula.clientWidth / formula.scrollWidth + "%";
      const { offsetWidth: width, offsetHeight: height } = card, room = document.documentElement.clientWidth;
      const above = line.bottom + height > innerHeight && line.top > height;
      card.style.left = scrollX + Math.max(8, Math.min(line.left, room - width - 8)) + "px";
      card.style.top = scrollY + (above ? line.top - height : line.bottom) + "px";
    }

    function show(link, html, text, x) {
      hide();
      if (html) card.innerHTML = html;
      else card.textContent = text;
      if (card.querySelector(".math") && !window.MathJax?.typesetPromise) return; // no formula can be drawn on this page
      owner = link;
      document.body.append(card);
      link.setAttribute("aria-describedby", card.id);
      place(link, x);
      if (card.querySelector(".math")) MathJax.typesetPromise([card]).then(() => { if (owner === link) place(link, x); });
    }

    const later = (what, wait) => { clearTimeout(timer); timer = setTimeout(what, wait); };
    for (const link of document.querySelectorAll(".bd-article a.reference.internal")) {
      const html = texts[link.getAttribute("href")], text = link.title;
      if (!html && !(text && link.hash && link.pathname.endsWith("/references.html"))) continue;
      link.removeAttribute("title");
      link.addEventListener("pointerenter", event => {
        if (event.pointerType !== "touch" && owner !== link) later(() => show(link, html, text, event.clientX), 200);
        else if (owner === link) clearTimeout(timer);
      });
      link.addEventListener("pointerleave", () => later(hide, 300));
      link.addEventListener("focus", () => { if (link.matches(":focus-visible")) show(link, html, text); });
      link.addEventListener("blur", hide);
    }
    card.addEventListener("pointerenter", () => clearTimeout(timer));
    card.addEventListener("pointerleave", () => later(hide, 300));
    document.addEventListener("keydown", event => { if (event.key === "Escape") hide(); });
  }

  document.addEventListener("DOMContentLoaded", () => {
    keep();
    checks();
    cards();
    roles();
    ledger();
    enlarge();
    reach();
    land();
    paper();
    const arrange = () => { fit(); reach(); };
    addEventListener("resize", arrange);
    document.addEventListener("toggle", arrange, true);
    addEventListener("load", () => {
      arrange();
      window.MathJax?.startup?.promise?.then(arrange);
    });
  });
})();
