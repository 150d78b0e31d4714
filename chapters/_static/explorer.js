// The explorer: races of the library's rules over a landscape. Rules, landscapes and presets are in explorer_data.js, printed
// from the library; this file runs them (first part, no page needed) and shows them (second part).
(() => {
  "use strict";

  /* ---- the numbers -------------------------------------------------------------------------------------------- */

  const RATES = Array.from({ length: 25 }, (_, k) => 10 ** (-6 + k / 3));

  const mix = (h) => {
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return (h ^ (h >>> 16)) >>> 0;
  };

  // in (0, 1), from a hash of seed, step and draw: the same in Python (companion.evidence.landscapes)
  const uniform = (seed, t, draw) => (mix(mix((seed + 0x9e3779b9) | 0) ^ (t * 8 + draw)) + 0.5) / 2 ** 32;

  function normals(seed, t) {
    const radius = Math.sqrt(-2 * Math.log(uniform(seed, t, 0))), angle = 2 * Math.PI * uniform(seed, t, 1);
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  }

  function poisson(mean, u) {
    let k = 0, p = Math.exp(-mean), total = p;
    for (; total < u && k < 10000; total += p) p *= mean / ++k;
    return k;
  }

  // what is added to the gradients at step t
  function draws(data, { kind, size, seed }, t, v) {
    if (kind === "none") return [0, 0];
    if (kind === "tails") return [0, 1].map((i) => uniform(seed, t, i)).map((u) => (size * (2 * u - 1)) / Math.sqrt(2 * u * (1 - u)));
    if (kind === "counts") {
      const burst = t >= v.begin && t < v.begin + v.length ? v.burst : 1;
      return [burst, 1].map((times, i) => v.base - poisson(v.base * times, uniform(seed, t, i)));
    }
    const [when, times] = kind === "spikes" ? data.spikes : data.outlier;
    const hit = kind === "spikes" ? uniform(seed, t, 2) < when : kind === "outlier" && t === when;
    return normals(seed, t).map((z) => size * z * (hit ? times : 1));
  }

  // one lane: steps + 1 frames, fewer where it diverges; arrays of steps x coordinates, one after the other
  function run(data, state, lane, p = lane.p) {
    const land = data.landscapes[state.landscape], rule = data.rules[lane.rule], d = state.start.length, n = state.steps + 1;
    const path = { d, n, diverged: -1, loss: new Float64Array(n) };
    for (const name of ["x", "g", "rate", "direction"]) path[name] = new Float64Array(n * d);
    const clip = (g, limit) => data.clip.step({}, g, null, { limit, lr: 1 })[2];
    let x = state.start.slice(), s = rule.init(x), rate, direction;
    for (let t = 0; t < n; t++) {
      let g = land.g(x, t, state.values);
      if (state.noise.kind !== "none") {
        const noise = draws(data, state.noise, t, state.values);
        g = g.map((gi, i) => gi + noise[i]);
      }
      path.loss[t] = land.f(x, t, state.values);
      [s, rate, direction] = rule.step(s, lane.clip === "before" ? clip(g, lane.limit) : g, x, p);
      if (lane.clip === "behind") {
        const clipped = clip(direction.map((di, i) => rate[i] * di), lane.limit * p.lr);
        direction = clipped.map((ci, i) => ci / rate[i]);
      }
      for (let i = 0; i < d; i++) {
        path.x[t * d + i] = x[i];
        path.g[t * d + i] = g[i];
        path.rate[t * d + i] = rate[i];
        path.direction[t * d + i] = direction[i];
      }
      x = x.map((xi, i) => xi - rate[i] * direction[i]);
      if (!x.every(Number.isFinite) || !g.every(Number.isFinite)) {
        path.diverged = t + 1;
        path.n = t + 1;
        break;
      }
    }
    return path;
  }

  // what a lane does at step t; null once it has diverged
  function frame(path, t) {
    if (t >= path.n) return null;
    const at = (a) => Array.from(a.subarray(t * path.d, (t + 1) * path.d)), rate = at(path.rate), direction = at(path.direction);
    return { x: at(path.x), g: at(path.g), rate, direction, step: rate.map((r, i) => r * direction[i]), loss: path.loss[t] };
  }

  // mean loss over the last tenth of the steps; infinite where the lane diverges
  function lateLoss(path) {
    if (path.diverged >= 0) return Infinity;
    const tail = path.loss.subarray(Math.floor(0.9 * path.n));
    return tail.reduce((a, b) => a + b, 0) / tail.length;
  }

  const sweep = (data, state, lane) => RATES.map((lr) => lateLoss(run(data, state, lane, { ...lane.p, lr })));

  function best(data, state, lane) {
    const losses = sweep(data, state, lane);
    return +RATES[losses.indexOf(Math.min(...losses))].toPrecision(3);
  }

  function rotate([a, b], degrees) {
    const c = Math.cos((degrees * Math.PI) / 180), s = Math.sin((degrees * Math.PI) / 180);
    return [c * a - s * b, s * a + c * b].map((v) => +v.toPrecision(12));
  }

  // a number of a preset's reveal: [quantity, lane, coordinate, how, from, to, over]
  function measure(paths, spec) {
    const losses = Array.isArray(spec) ? [] : paths.map(lateLoss);
    if (spec === "spread") return Math.max(...losses) / Math.min(...losses);
    if (spec === "first") return losses[0];
    if (!Array.isArray(spec)) return spec;
    const [quantity, lane, i, how, from, to, over] = spec;
    const at = (t) => {
      const now = frame(paths[lane], t);
      if (!now) return Infinity;
      return quantity === "distance" ? Math.hypot(...now.x) : Math.abs(now[quantity][i]);
    };
    const range = Array.from({ length: to - from + 1 }, (_, k) => at(from + k));
    if (how === "idle") return 1 - range[0] / range.reduce((a, b) => a + b, 0);
    const value = how === "min" ? Math.min(...range) : Math.max(...range);
    return over === null ? value : value / at(over);
  }

  /* ---- the state as the fragment of an address, and as Python ---------------------------------------------------- */

  function encode(s) {
    const q = new URLSearchParams({ land: s.landscape });
    for (const [k, v] of Object.entries(s.values)) q.set("v." + k, v);
    q.set("start", s.start);
    q.set("noise", Object.values(s.noise));
    q.set("box", s.box.flat());
    q.set("clock", [s.first, s.t, s.steps]);
    q.set("show", s.show + (s.linked ? " linked" : ""));
    for (const l of s.lanes) q.append("lane", [l.rule, l.clip, l.limit, ...Object.entries(l.p).map((e) => e.join(":"))]);
    if (s.preset) q.set("preset", s.preset);
    return q.toString();
  }

  function decode(data, fragment) {
    try {
      const s = read(data, fragment);
      return s && data.landscapes[s.landscape] && s.lanes.every((l) => data.rules[l.rule]) ? s : null;
    } catch {
      return null; // a fragment that is another anchor, or was cut
    }
  }

  function read(data, fragment) {
    const q = new URLSearchParams(fragment), preset = data.presets.find((p) => p.name === q.get("preset"));
    if (!q.has("land")) return preset ? { ...structuredClone(preset.state), preset: preset.name } : null;
    const list = (k) => q.get(k).split(","), numbers = (k) => list(k).map(Number), flat = numbers("box");
    const [kind, size, seed] = list("noise"), [first, t, steps] = numbers("clock");
    return {
      landscape: q.get("land"),
      values: Object.fromEntries([...q].filter(([k]) => k.startsWith("v.")).map(([k, v]) => [k.slice(2), +v])),
      start: numbers("start"), noise: { kind, size: +size, seed: +seed }, steps, first, t,
      box: flat.length > 2 ? [flat.slice(0, 2), flat.slice(2)] : [flat],
      linked: q.get("show").endsWith("linked"), show: q.get("show").split(" ")[0],
      lanes: q.getAll("lane").map((text) => {
        const [rule, clip, limit, ...p] = text.split(",");
        return { rule, p: Object.fromEntries(p.map((e) => e.split(":")).map(([k, v]) => [k, +v])), clip, limit: +limit };
      }),
      ...(preset ? { preset: preset.name } : {}),
    };
  }

  // the lane as Python that runs: descend(...)
  function python(data, s, lane) {
    let rule = data.rules[lane.rule].python.replace(/\{(\w+)\}/g, (_, k) => lane.p[k]);
    const names = new Set(rule.match(/[A-Z]\w+(?=\()/g)), extra = [];
    if (lane.clip === "before") rule = `chain(ClipByNorm(${lane.limit}), ${rule})`;
    if (lane.clip === "behind") rule = `ClippedStep(${rule}, ${lane.limit})`;
    if (lane.clip === "before") names.add("ClipByNorm").add("chain");
    if (lane.clip === "behind") extra.push("from companion.experiments.gradient_clipping.rules import ClippedStep");
    const values = Object.entries(s.values).map(([k, v]) => `${k}=${v}, `).join("");
    return [
      "from companion.evidence.landscapes import LANDSCAPES, Noise", ...extra,
      `from stepsize import ${[...names, "descend"].sort().join(", ")}`, "",
      `noise = Noise("${s.noise.kind}", ${s.noise.size}, ${s.noise.seed})`,
      `land = LANDSCAPES["${s.landscape}"].at(${values}noise=noise)`,
      `path = descend(${rule}, land.grad, [${s.start.join(", ")}], ${s.steps}, nonfinite="record")`,
      "print(land.loss(path.x[-1]))", "",
    ].join("\n");
  }

  const core = { RATES, uniform, normals, draws, run, frame, lateLoss, sweep, best, measure, rotate, encode, decode, python };
  if (typeof document === "undefined") {
    module.exports = core;
    return;
  }

  /* ---- the page --------------------------------------------------------------------------------------------------- */

  const SVG = "http://www.w3.org/2000/svg", SPEEDS = [10, 30, 60, 120, 300, 1000];
  const PLOT = { w: 460, h: 168, l: 50, r: 10, t: 10, b: 22 };
  const letter = (k) => "ABCD"[k];

  // h("button.big", {onclick, ...}, child, ...)
  function h(tag, attributes, ...children) {
    const [name, ...classes] = tag.split("."), e = document.createElement(name);
    if (classes.length) e.className = classes.join(" ");
    if (name === "button") e.type = name;
    for (const [k, v] of Object.entries(attributes || {})) {
      if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
      else if (v !== false && v != null) e.setAttribute(k, v === true ? "" : v);
    }
    e.append(...children);
    return e;
  }

  function svg(tag, attributes, parent) {
    const e = document.createElementNS(SVG, tag);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    if (parent) parent.append(e);
    return e;
  }

  const UP = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const power = (k) => "10" + (k < 0 ? "⁻" : "") + [...String(Math.abs(k))].map((c) => UP[c]).join("");
  function say(v, digits = 3) {
    if (v === 0) return "0";
    if (!Number.isFinite(v)) return Number.isNaN(v) ? "–" : v < 0 ? "−∞" : "∞";
    const [m, k] = v.toExponential(1).split("e"), text = k < -3 || k > 5 ? m + "·" + power(+k) : String(+v.toPrecision(digits));
    return text.replace("-", "−");
  }
  const percent = (v) => (v < 0.01 ? (100 * v).toPrecision(1) : (100 * v).toFixed(0)) + " %";

  // nice ticks of a linear axis
  function ticks(low, high, about) {
    const raw = (high - low) / about, ten = 10 ** Math.floor(Math.log10(raw)), step = ten * [1, 2, 5, 10].find((m) => m * ten >= raw);
    const out = [];
    for (let v = Math.ceil(low / step) * step; v <= high + step / 1e6; v += step) out.push(+v.toPrecision(10));
    return out;
  }

  function explore(root, data) {
    const strip = root.dataset.mode === "strip", calm = matchMedia("(prefers-reduced-motion: reduce)");
    const id = (name) => `${root.id || "explorer"}-${name}`;
    let state, paths = [], axes, hover = null, playing = null, focus = 0, asked = null, answered = false, before = {}, ink = {}, base = null, width = null, printing = false;
    const ui = {};

    /* -- colours follow the theme; in the dark a lane's colour is lightened */
    function colours() {
      const style = getComputedStyle(root), dark = !printing && document.documentElement.dataset.theme === "dark";
      for (const name of ["low", "high", "line", "ink", "soft", "paper"]) ink[name] = style.getPropertyValue(`--map-${name}`).trim() || "#888";
      if (printing) Object.assign(ink, { low: "#ffffff", high: "#b9cbd9", line: "#9fb3c3", ink: "#1f2328", soft: "#57606a", paper: "#ffffff" });
      ink.lane = (hex) => {
        const rgb = [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
        return dark ? `rgb(${rgb.map((c) => Math.round(c + (255 - c) * 0.42)).join(" ")})` : hex;
      };
    }
    const hex = (text) => [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16));

    // colour, dash and marker of a lane; the second lane of a rule is dotted
    function look(k) {
      const { rule, clip } = state.lanes[k], style = (clip === "before" && data.clipped[rule]) || data.rules[rule];
      const again = state.lanes.slice(0, k).some((l) => l.rule === rule && (l.clip === "before") === (clip === "before"));
      return { colour: ink.lane(style.colour), dash: again ? [2, 3] : style.dash, marker: style.marker };
    }
    const title = (k) => (state.lanes[k].clip === "none" ? "" : "clipped ") + state.lanes[k].rule;
    const now = () => hover ?? (printing && state.t <= state.first ? state.steps : state.t); // whole on paper
    const land = () => data.landscapes[state.landscape];
    const preset = () => data.presets.find((p) => p.name === state.preset);

    /* -- state */
    function simulate() {
      paths = state.lanes.map((lane) => run(data, state, lane));
    }

    function tune(k) {
      state.lanes[k].p.lr = best(data, state, state.lanes[k]);
    }

    function set(change, { keep = false } = {}) {
      const fresh = change.landscape && change.landscape !== state?.landscape;
      if (change.preset && !change.lanes) change = { ...decode(data, "preset=" + change.preset), ...change };
      if (fresh) {
        const l = data.landscapes[change.landscape];
        change = { values: l.values, start: l.start, noise: l.noise, steps: l.steps, box: l.box, first: 0, t: l.steps, ...change };
        if (!change.lanes) change.lanes = state?.lanes.map((lane) => ({ ...lane, p: { ...lane.p, lr: null } }));
      }
      state = structuredClone({ ...state, ...change });
      if (fresh || change.first !== undefined) ui.speed.value = SPEEDS.find((v) => v >= (state.steps - state.first) / 6) || SPEEDS.at(-1); // about six seconds
      state.lanes.forEach((lane, k) => lane.p.lr ?? tune(k));
      state.t = Math.min(state.t, state.steps);
      focus = Math.min(focus, state.lanes.length - 1);
      simulate();
      if (!keep) fit();
      base = null;
      controls();
      draw();
      remember();
    }

    // a change by hand: the race is no longer the preset's own, the axes stay, the whole path is shown
    function edit(change) {
      if (asked) answered = true;
      set({ ...change, preset: undefined }, { keep: !(change.landscape || change.steps) });
      pressed();
    }

    let timer = 0;
    function remember() {
      if (strip) return;
      clearTimeout(timer);
      timer = setTimeout(() => {
        try {
          history.replaceState(null, "", "#" + encode(state));
        } catch {
          return; // embedded
        }
      }, 300);
    }

    /* -- axes: fitted when a race begins, and on demand */
    function fit() {
      const range = { rate: [Infinity, 0], step: [Infinity, 0], loss: [Infinity, 0] };
      const see = (name, v) => {
        if (v > 1e-300 && v < 1e300) range[name] = [Math.min(range[name][0], v), Math.max(range[name][1], v)];
      };
      for (const path of paths)
        for (let t = state.first; t < path.n; t++) {
          see("loss", path.loss[t]);
          for (let j = t * path.d; j < (t + 1) * path.d; j++) {
            see("rate", path.rate[j]);
            see("step", Math.abs(path.rate[j] * path.direction[j]));
          }
        }
      axes = {};
      for (const [name, [low, high]] of Object.entries(range)) {
        const top = Math.ceil(10 * Math.log10(high || 1) + 0.6) / 10;
        // nine decades at most
        axes[name] = [Math.max(Math.floor(10 * Math.log10(low < high ? low : (high || 1) / 2) - 0.6) / 10, top - 9), top];
      }
    }

    /* -- the map */
    function geometry() {
      width ??= ui.map.clientWidth || 480; // each question would lay the page out
      const canvas = ui.map, ratio = Math.min(window.devicePixelRatio || 1, 2), w = width, hgt = Math.round(w * (strip ? 0.78 : 0.75));
      const scale = land().scale(state.values), boxes = state.box.map((b, i) => b.map((v) => v * scale[i]));
      if (canvas.width !== Math.round(w * ratio)) {
        canvas.width = Math.round(w * ratio);
        canvas.height = Math.round(hgt * ratio);
        canvas.style.height = hgt + "px";
        base = null;
      }
      const [[x0, x1], [y0, y1]] = boxes.length > 1 ? boxes : [boxes[0], profile(boxes[0])];
      return {
        w, h: hgt, ratio, boxes: [[x0, x1], [y0, y1]],
        X: (v) => ((v - x0) / (x1 - x0)) * w, Y: (v) => hgt - ((v - y0) / (y1 - y0)) * hgt,
        x: (px) => x0 + (px / w) * (x1 - x0), y: (py) => y0 + ((hgt - py) / hgt) * (y1 - y0),
      };
    }

    function profile([low, high]) {
      let top = 0;
      for (let k = 0; k <= 100; k++) top = Math.max(top, land().f([low + (k / 100) * (high - low)], 0, state.values));
      return [-0.12 * top, 1.5 * top];
    }

    // filled contours of equal shares of the (logarithmic) height, lines between them
    function backdrop(geo) {
      const w = Math.round(geo.w), hgt = Math.round(geo.h), canvas = document.createElement("canvas"), l = land();
      canvas.width = w;
      canvas.height = hgt;
      const context = canvas.getContext("2d"), low = hex(ink.low), high = hex(ink.high), line = hex(ink.line);
      if (state.start.length === 1) return canvas;
      const image = context.createImageData(w, hgt), values = new Float64Array(w * hgt), x = [0, 0];
      let min = Infinity, max = -Infinity;
      for (let j = 0, k = 0; j < hgt; j++) {
        x[1] = geo.y(j + 0.5);
        for (let i = 0; i < w; i++, k++) {
          x[0] = geo.x(i + 0.5);
          const v = (values[k] = l.height(x, 0, state.values));
          if (v < min) min = v;
          if (v > max) max = v;
        }
      }
      const game = min < 0, top = Math.log1p(1e3), bands = 14;
      const level = (v) => Math.floor(bands * (game ? (v - min) / (max - min) : Math.log1p((1e3 * (v - min)) / (max - min)) / top));
      let above = new Int16Array(w), row = new Int16Array(w);
      for (let j = 0, k = 0; j < hgt; j++) {
        for (let i = 0; i < w; i++, k++) {
          const b = (row[i] = Math.min(level(values[k]), bands - 1)), edge = (i && row[i - 1] !== b) || (j && above[i] !== b), share = b / (bands - 1);
          for (let c = 0; c < 3; c++) image.data[4 * k + c] = edge ? line[c] : low[c] + (high[c] - low[c]) * share;
          image.data[4 * k + 3] = 255;
        }
        [above, row] = [row, above];
      }
      context.putImageData(image, 0, 0);
      return canvas;
    }

    function arrow(c, x0, y0, x1, y1, colour, width, dash = []) {
      const a = Math.atan2(y1 - y0, x1 - x0), size = 4 + 1.6 * width;
      c.strokeStyle = c.fillStyle = colour;
      c.lineWidth = width;
      c.setLineDash(dash);
      c.beginPath();
      c.moveTo(x0, y0);
      c.lineTo(x1, y1);
      c.stroke();
      c.setLineDash([]);
      c.beginPath();
      c.moveTo(x1, y1);
      for (const turn of [2.7, -2.7]) c.lineTo(x1 + size * Math.cos(a + turn), y1 + size * Math.sin(a + turn));
      c.fill();
    }

    function polygon(c, points, x, y, r) {
      c.beginPath();
      points.forEach(([px, py], i) => c[i ? "lineTo" : "moveTo"](x + r * px, y + r * py));
      c.closePath();
    }

    // where a lane stands at a step; on a profile the lanes are drawn one above the other
    function place(geo, k, s) {
      const { x, d } = paths[k];
      return d > 1 ? [geo.X(x[2 * s]), geo.Y(x[2 * s + 1])] : [geo.X(x[s]), geo.Y(land().f([x[s]], 0, state.values)) - 14 * k - 9];
    }

    function drawMap() {
      const geo = geometry(), c = ui.map.getContext("2d"), flat = state.start.length === 1, t = now();
      base = base || backdrop(geo);
      c.setTransform(geo.ratio, 0, 0, geo.ratio, 0, 0);
      c.fillStyle = ink.low;
      c.fillRect(0, 0, geo.w, geo.h);
      c.drawImage(base, 0, 0, geo.w, geo.h);
      c.lineJoin = "round";
      if (flat) drawProfile(c, geo);
      else drawAxes(c, geo);
      const far = (v) => Math.max(-2e4, Math.min(2e4, v)), hidden = asked && !answered, labels = [];
      paths.forEach((path, k) => {
        const { colour, dash, marker } = look(k), last = Math.min(t, path.n - 1);
        // visits the steps, but for those on the pixel of the one before
        const each = (from, to, visit) => {
          for (let s = from, x0 = NaN, y0 = NaN; s <= to; s++) {
            const [x, y] = place(geo, k, s);
            if (Math.abs(x - x0) + Math.abs(y - y0) < 0.6 && s < to) continue;
            visit((x0 = x), (y0 = y), s);
          }
        };
        const trace = (from, to, alpha, style) => {
          c.globalAlpha = alpha;
          c.strokeStyle = colour;
          c.lineWidth = 1.6;
          c.setLineDash(style);
          c.beginPath();
          each(from, to, (x, y) => c.lineTo(far(x), far(y)));
          c.stroke();
        };
        if (!flat && !hidden && hover === null && !playing) trace(last, path.n - 1, 0.22, []);
        if (!flat) trace(0, last, 0.75, dash);
        c.setLineDash([]);
        c.globalAlpha = 1;
        c.fillStyle = colour;
        const dot = flat ? 3.4 : 2.6;
        each(flat ? state.first : 0, flat && !hidden && !playing && hover === null ? path.n - 1 : last, (x, y, s) => {
          c.globalAlpha = s <= last ? 0.8 : 0.25;
          if (x > -5 && x < geo.w + 5 && y > -5 && y < geo.h + 5) c.fillRect(x - dot / 2, y - dot / 2, dot, dot);
        });
        c.globalAlpha = 1;
        const [x, y] = place(geo, k, last);
        if (x >= 0 && x <= geo.w && y >= 0 && y <= geo.h) {
          polygon(c, marker, x, y, k === focus ? 7 : 5.5);
          c.fillStyle = colour;
          c.fill();
          c.lineWidth = 1.4;
          c.strokeStyle = ink.paper;
          c.stroke();
        } else labels.push([k, Math.max(8, Math.min(geo.w - 8, x)) || 8, Math.max(14, Math.min(geo.h - 8, y)) || 14, colour, path.diverged >= 0 && t >= path.n]);
      });
      arrows(c, geo);
      labels.forEach(([k, x, y, colour, gone], i) => {
        const text = `${title(k)} ${gone ? "diverged" : "is off the map"}`;
        c.font = "600 12.5px system-ui, sans-serif";
        const w = c.measureText(text).width + 12, left = Math.max(4, Math.min(geo.w - w - 4, x - w / 2)), up = Math.max(4, Math.min(geo.h - 24, y - 10 + 22 * i));
        c.fillStyle = ink.paper;
        c.fillRect(left, up, w, 20);
        c.strokeStyle = colour;
        c.lineWidth = 1.5;
        c.strokeRect(left, up, w, 20);
        c.fillStyle = ink.ink;
        c.fillText(text, left + 6, up + 14);
      });
    }

    function drawProfile(c, geo) {
      c.beginPath();
      for (let px = 0; px <= geo.w; px += 1) c.lineTo(px, geo.Y(land().f([geo.x(px)], 0, state.values)));
      c.strokeStyle = ink.soft;
      c.lineWidth = 1.5;
      c.stroke();
      c.lineTo(geo.w, geo.h);
      c.lineTo(0, geo.h);
      c.fillStyle = ink.high;
      c.globalAlpha = 0.55;
      c.fill();
      c.globalAlpha = 1;
      drawAxes(c, geo);
    }

    function drawAxes(c, geo) {
      c.font = "11.5px system-ui, sans-serif";
      c.fillStyle = ink.ink;
      c.strokeStyle = ink.soft;
      c.lineWidth = 1;
      const [[x0, x1], [y0, y1]] = geo.boxes;
      c.textAlign = "center";
      for (const v of ticks(x0, x1, 6)) {
        const x = geo.X(v);
        if (x > 20 && x < geo.w - 30) c.fillText(say(v), x, geo.h - 5), c.fillRect(x - 0.5, geo.h - 3, 1, 3);
      }
      c.textAlign = "left";
      if (state.start.length > 1)
        for (const v of ticks(y0, y1, 5)) {
          const y = geo.Y(v);
          if (y > 24 && y < geo.h - 24) c.fillText(say(v), 5, y + 4), c.fillRect(0, y - 0.5, 3, 1);
        }
      c.font = "italic 13px Georgia, serif";
      c.fillText("θ₁", geo.w - 18, geo.h - 6);
      if (state.start.length > 1) c.fillText("θ₂", 5, 16);
    }

    // of the lane in focus: where it would go by the gradient, its direction (both of one length), and the step itself
    function arrows(c, geo) {
      const path = paths[focus], t = now(), f = path && frame(path, t);
      if (!f) return;
      const [x, y] = place(geo, focus, t), { colour } = look(focus), flat = f.x.length === 1, [[x0, x1], [y0, y1]] = geo.boxes;
      if (!(x > -50 && x < geo.w + 50 && y > -50 && y < geo.h + 50)) return;
      const screen = (v) => [(-v[0] / (x1 - x0)) * geo.w, flat ? 0 : (v[1] / (y1 - y0)) * geo.h];
      const unit = (v, r) => { const n = Math.hypot(...v); return n > 0 ? v.map((a) => (a / n) * r) : null; };
      // a weight drawn in other units pulls as strongly as it is: the angle is that of the coordinates
      const flip = (v) => [-v[0], flat ? 0 : v[1]];
      const g = unit(flip(f.g), 46), d = unit(flip(f.direction), 34), s = screen(f.step);
      if (g) arrow(c, x, y, x + g[0], y + g[1], ink.soft, 1.4);
      if (d) arrow(c, x, y, x + d[0], y + d[1], ink.ink, 1.8, [3, 3]);
      if (Math.hypot(...s) > 1.5) arrow(c, x, y, x + s[0], y + s[1], colour, 3);
    }

    /* -- the plots */
    function plotFrame(name) {
      const { w, h: hgt } = PLOT, figure = h("figure.plot", { "data-plot": name });
      const picture = svg("svg", { viewBox: `0 0 ${w} ${hgt}`, role: "img", "aria-label": "" });
      const clip = svg("clipPath", { id: id("clip-" + name) }, picture);
      const whole = svg("clipPath", { id: id("whole-" + name) }, picture);
      svg("rect", { x: PLOT.l, y: PLOT.t, width: w - PLOT.l - PLOT.r, height: hgt - PLOT.t - PLOT.b }, whole);
      const part = {
        figure, picture, clip: svg("rect", { x: PLOT.l, y: PLOT.t, height: hgt - PLOT.t - PLOT.b }, clip), grid: svg("g", { class: "grid" }, picture),
        curves: svg("g", { id: id("curves-" + name) }, svg("defs", {}, picture)),
        faint: svg("use", { href: "#" + id("curves-" + name), "clip-path": `url(#${id("whole-" + name)})`, opacity: 0.22 }, picture),
        past: svg("use", { href: "#" + id("curves-" + name), "clip-path": `url(#${id("clip-" + name)})` }, picture), cursor: svg("line", { class: "cursor", y1: PLOT.t, y2: hgt - PLOT.b }, picture),
        marks: svg("g", {}, picture),
      };
      figure.append(h("figcaption", {}, { rate: "Learning rate", step: "Step: |rate × direction|", loss: "Loss f" }[name]), picture);
      hovers(picture, () => {
        const box = picture.getBoundingClientRect();
        return (px) => Math.round(Math.max(state.first, Math.min(state.steps, state.first + ((((px - box.left) / box.width) * w - PLOT.l) / (w - PLOT.l - PLOT.r)) * (state.steps - state.first))));
      });
      return part;
    }

    // the pointer marks a step in all views, a click stays there; find() gives (x, y) => step or null
    function hovers(element, find) {
      element.addEventListener("pointermove", (e) => {
        if (playing || e.buttons || (asked && !answered)) return;
        hover = find()(e.clientX, e.clientY);
        drawNow();
      });
      element.addEventListener("pointerleave", () => { hover = null; drawNow(); });
      element.addEventListener("click", () => { if (hover !== null) { state.t = hover; drawNow(); remember(); } });
    }

    // the step of any lane that is nearest to a point of the map, within 20 pixels
    function nearest() {
      const geo = geometry(), box = ui.map.getBoundingClientRect();
      return (px, py) => {
        let found = null, least = 20;
        paths.forEach((path, k) => {
          for (let s = state.first; s < path.n; s++) {
            const [x, y] = place(geo, k, s), away = Math.hypot(px - box.left - x, py - box.top - y);
            if (away < least) least = away, found = s;
          }
        });
        return found;
      };
    }

    const PX = (t) => PLOT.l + ((t - state.first) / Math.max(1, state.steps - state.first)) * (PLOT.w - PLOT.l - PLOT.r);
    const PY = (name, v) => {
      const [low, high] = axes[name], y = v > 0 ? PLOT.h - PLOT.b - ((Math.log10(v) - low) / (high - low)) * (PLOT.h - PLOT.t - PLOT.b) : 9e3;
      return Math.max(-9e3, Math.min(9e3, y));
    };

    function series(name, path, i) {
      if (name === "loss") return (t) => path.loss[t];
      if (name === "rate") return (t) => path.rate[t * path.d + i];
      return (t) => Math.abs(path.rate[t * path.d + i] * path.direction[t * path.d + i]);
    }

    // one polyline; where several steps share a pixel or two, their lowest and highest value
    function polyline(name, path, i) {
      const value = series(name, path, i), per = Math.max(1, (1.6 * (state.steps - state.first)) / (PLOT.w - PLOT.l - PLOT.r));
      let out = "";
      const point = (t, v) => (out += Math.round(PX(t) * 10) / 10 + "," + Math.round(PY(name, v) * 10) / 10 + " ");
      for (let from = state.first; from < path.n; from += per) {
        let low = Infinity, high = -Infinity, lowAt = -1, highAt = -1;
        for (let t = Math.ceil(from), end = Math.min(path.n, from + per); t < end; t++) {
          const v = value(t);
          if (v < low) (low = v), (lowAt = t);
          if (v > high) (high = v), (highAt = t);
        }
        if (lowAt < 0) continue;
        point(Math.min(lowAt, highAt), lowAt < highAt ? low : high);
        if (lowAt !== highAt) point(Math.max(lowAt, highAt), lowAt < highAt ? high : low);
      }
      return out;
    }

    const coordinates = (name) => (name === "loss" ? [0] : state.start.length === 1 ? [0] : state.show === "both" ? [0, 1] : [+state.show - 1]);

    function drawPlot(name) {
      const part = ui.plots[name], { w, h: hgt } = PLOT;
      part.grid.replaceChildren();
      const [low, high] = axes[name], every = Math.max(1, Math.ceil((high - low) / 4));
      let marks = [];
      for (let k = Math.ceil(low); k <= high; k++) if ((k - Math.ceil(low)) % every === 0) marks.push([10 ** k, k >= -2 && k <= 3 ? String(10 ** k) : power(k)]);
      if (marks.length < 2) marks = ticks(10 ** low, 10 ** high, 4).map((v) => [v, say(v)]);
      for (const [v, text] of marks) {
        const y = PY(name, v);
        svg("line", { x1: PLOT.l, x2: w - PLOT.r, y1: y, y2: y }, part.grid);
        svg("text", { x: PLOT.l - 6, y: y + 4, "text-anchor": "end" }, part.grid).textContent = text;
      }
      for (const t of ticks(state.first, state.steps, 6)) svg("text", { x: PX(t), y: hgt - 6, "text-anchor": t === state.steps ? "end" : "middle" }, part.grid).textContent = t;
      part.faint.style.display = asked && !answered ? "none" : "";
      part.curves.replaceChildren();
      paths.forEach((path, k) => {
        const { colour, dash } = look(k);
        for (const i of coordinates(name)) {
          svg("polyline", { points: polyline(name, path, i), stroke: colour, "stroke-width": i ? 1.1 : 2.2, "stroke-dasharray": dash.join(" "), fill: "none", "stroke-linejoin": "round" }, part.curves);
        }
      });
      part.picture.setAttribute("aria-label", `${part.figure.firstChild.textContent} against the step, logarithmic: ${state.lanes.map((_, k) => title(k)).join(", ")}`);
    }

    function cursors() {
      const t = now();
      for (const [name, part] of Object.entries(ui.plots)) {
        const x = PX(t);
        part.clip.setAttribute("width", Math.max(0, x - PLOT.l));
        part.cursor.setAttribute("x1", x);
        part.cursor.setAttribute("x2", x);
        part.marks.replaceChildren();
        paths.forEach((path, k) => {
          if (t >= path.n) return;
          const { colour, marker } = look(k);
          for (const i of coordinates(name)) {
            const y = PY(name, series(name, path, i)(t));
            if (y < PLOT.t || y > PLOT.h - PLOT.b) continue;
            const r = i ? 3.4 : 4.6;
            svg("polygon", { points: marker.map(([a, b]) => `${x + r * a},${y + r * b}`).join(" "), fill: colour, class: "mark" }, part.marks);
          }
        });
      }
    }

    function readout() {
      const t = now(), rows = [];
      state.lanes.forEach((_, k) => {
        const f = frame(paths[k], t), d = state.start.length;
        for (let i = 0; i < d; i++) {
          const cells = f ? [say(f.rate[i]), "×", say(f.direction[i]), "=", say(f.step[i])] : ["", "", "", "", i ? "" : `diverged at step ${paths[k].diverged}`];
          const row = h("tr", { class: k === focus ? "focus" : "" });
          if (!i) row.append(h("th", { scope: "row", rowspan: d }, swatch(k), title(k)));
          if (d > 1) row.append(h("td.coordinate", {}, "θ" + "₁₂"[i]));
          row.append(...cells.map((text, j) => h("td" + (j % 2 ? ".sign" : j === 4 ? ".step" : ""), {}, text)));
          if (!i) row.append(h("td.loss", { rowspan: d }, f ? say(f.loss) : ""));
          rows.push(row);
        }
      });
      ui.rows.replaceChildren(...rows);
      ui.coordinateHead.hidden = state.start.length === 1;
    }

    function swatch(k) {
      const { colour, dash, marker } = look(k), e = svg("svg", { viewBox: "0 0 30 14", class: "lane-mark", "aria-hidden": "true" });
      svg("line", { x1: 0, x2: 30, y1: 7, y2: 7, stroke: colour, "stroke-width": 2, "stroke-dasharray": dash.join(" ") }, e);
      svg("polygon", { points: marker.map(([a, b]) => `${15 + 5 * a},${7 + 5 * b}`).join(" "), fill: colour }, e);
      return e;
    }

    /* -- drawing */
    function drawNow() {
      drawMap();
      cursors();
      readout();
      ui.scrub.min = state.first;
      ui.scrub.max = state.steps;
      ui.scrub.value = now();
      ui.scrub.setAttribute("aria-valuetext", `step ${now()} of ${state.steps}`);
      ui.clock.textContent = `${now()} / ${state.steps}`;
      ui.play.textContent = playing ? "Pause" : state.t >= state.steps ? "Play again" : "Play";
    }

    function draw() {
      for (const name of Object.keys(ui.plots)) drawPlot(name);
      drawNow();
      if (ui.sweepBox?.open) drawSweep();
    }

    function announce() {
      const words = state.lanes.map((_, k) => {
        const f = frame(paths[k], state.t);
        return `${title(k)}: ${f ? "loss " + say(f.loss) : "diverged at step " + paths[k].diverged}`;
      });
      ui.status.textContent = `Step ${state.t} of ${state.steps}. ${words.join("; ")}.`;
    }

    /* -- transport */
    function pause() {
      if (playing) cancelAnimationFrame(playing.request);
      playing = null;
      drawNow();
      announce();
      remember();
    }

    function play() {
      if (playing) return pause();
      if (state.t >= state.steps) state.t = state.first;
      hover = null;
      if (calm.matches) {
        state.t = state.steps;
        return pause();
      }
      const from = state.t;
      let start = null;
      playing = { request: 0 };
      const tick = (time) => {
        start ??= time;
        state.t = Math.min(state.steps, from + Math.floor(((time - start) / 1000) * +ui.speed.value));
        if (state.t >= state.steps) return pause();
        drawNow();
        playing.request = requestAnimationFrame(tick);
      };
      playing.request = requestAnimationFrame(tick);
      drawNow();
    }

    function go(t) {
      if (playing) pause();
      hover = null;
      state.t = Math.max(state.first, Math.min(state.steps, t));
      drawNow();
      announce();
      remember();
    }

    /* -- the question of a preset */
    function ask(name) {
      if (playing) pause();
      asked = data.presets.find((p) => p.name === name);
      answered = false;
      focus = 0;
      set({ ...decode(data, "preset=" + name) });
      before = Object.fromEntries(Object.entries(asked.measures).map(([k, spec]) => [k, measure(paths, spec)]));
      question();
    }

    function answer(p, choice) {
      if (asked !== p || state.preset !== p.name) ask(p.name); // the reader has changed something: from the beginning
      answered = true;
      const { then, state: initial } = asked, after = { t: initial.t };
      if (then?.values) {
        after.values = { ...state.values, ...then.values };
        if (land().turns) after.start = rotate(state.start, then.values.turn - state.values.turn);
      }
      if (then?.tune) Object.assign(after, { linked: false, lanes: state.lanes.map((l) => ({ ...l, p: { ...l.p, lr: null } })) });
      set(after, { keep: !then?.tune });
      question(choice);
      const small = matchMedia("(max-width: 800px)").matches;
      ui.question.children[+small].scrollIntoView({ behavior: calm.matches ? "auto" : "smooth" });
      play();
    }

    function pressed() {
      for (const b of ui.presets.children) b.setAttribute("aria-pressed", String(b.value === state.preset));
    }

    function question(choice) {
      const p = preset();
      pressed();
      ui.question.hidden = !p;
      if (!p) return;
      const values = Object.fromEntries(Object.entries(p.measures).map(([k, spec]) => [k, k === "before" ? before[k] : k === "lost" ? measure(paths, spec) / before[k] : measure(paths, spec)]));
      const number = (k) => (["rate", "idle"].includes(k) && values[k] < 1 ? percent(values[k]) : say(values[k], 2));
      const text = p.reveal.replace(/\{(\w+)\}/g, (_, k) => number(k));
      ui.question.replaceChildren(
        h("p.asked", {}, p.question),
        h("div.answers", { role: "group", "aria-label": "Your prediction" }, ...p.answers.map((a, k) =>
          h("button" + (answered && k === p.right ? ".right" : ""), { "aria-pressed": String(choice === k), onclick: () => answer(p, k) }, answered ? (k === p.right ? "✓ " : choice === k ? "✗ " : "") : "", a))),
      );
      if (answered && choice !== undefined) ui.question.append(h("p.reveal", { role: "status" }, choice === p.right ? "Right. " : "Not so. ", text));
      if (strip) return ui.question.append(h("p.chapters", {}, h("a", { href: "explorer.html#preset=" + p.name }, "More in the explorer")));
      const list = (names) => names.flatMap((c, i) => [i ? " and " : "", link(c)]);
      const numbers = p.numbers.length ? ["Numbers from ", ...list(p.numbers), p.also.length ? "; the idea returns in " : ""] : ["The idea of "];
      ui.question.append(h("p.chapters", {}, ...numbers, ...list(p.also), "."));
    }
    const link = (name) => h("a", { href: name + ".html" }, data.titles[name]);

    /* -- controls */
    // a slider over [low, high], logarithmic or not; `word` is what it says
    function slider(label, low, high, value, log, change, word = say, step) {
      const to = (v) => (log ? Math.log10(Math.max(v, 10 ** low)) : v), from = (u) => (log ? +(10 ** u).toPrecision(3) : +(+u).toPrecision(6));
      const out = h("output", {}, word(value)), name = h("span.name", {}, label);
      const input = h("input", { type: "range", min: low, max: high, step: step || (log ? 0.05 : (high - low) / 200), value: to(value), "aria-label": label, "aria-valuetext": word(value) });
      input.addEventListener("input", () => {
        const v = from(input.value);
        out.textContent = word(v);
        input.setAttribute("aria-valuetext", word(v));
        change(v);
      });
      return h("label.slider", {}, name, out, input);
    }

    function choice(label, options, value, change) {
      const e = h("select", { "aria-label": label }, ...options.map(([v, text]) => h("option", { value: v, selected: v === value }, text)));
      e.addEventListener("change", () => change(e.value));
      return h("label.choice", {}, h("span.name", {}, label), e);
    }

    const editLane = (k, change) => edit({ lanes: state.lanes.map((l, j) => (j === k ? { ...l, ...change } : l)) });
    function editRate(k, lr) {
      edit({ lanes: state.lanes.map((l, j) => (j === k || state.linked ? { ...l, p: { ...l.p, lr } } : l)) });
    }

    // controls are written anew only where a select has changed what they are; a slider that is held stays
    let shape = "";
    function controls() {
      if (strip) return;
      const next = JSON.stringify([state.landscape, state.lanes.map((l) => [l.rule, l.clip]), state.noise.kind, state.linked, state.show, focus]);
      if (next === shape && root.contains(document.activeElement) && document.activeElement.type === "range") return;
      const key = document.activeElement?.closest?.("[data-key]")?.dataset.key;
      shape = next;
      ui.lanes.replaceChildren(...state.lanes.map((_, k) => laneCard(k)), ...(state.lanes.length < 4 ? [h("button.add", { "data-key": "add", onclick: addLane }, "Add a lane")] : []));
      ui.shared.replaceChildren(...shared());
      if (key) root.querySelector(`[data-key="${key}"] :is(select, input, button), button[data-key="${key}"]`)?.focus();
    }

    function laneCard(k) {
      const lane = state.lanes[k], p = lane.p, change = (name) => (v) => editLane(k, { p: { ...state.lanes[k].p, [name]: v } });
      const memory = (v) => `${say(v, 4)} (${say(1 / (1 - v), 2)} steps)`;
      const more = Object.keys(p).filter((name) => name !== "lr").map((name) => {
        if (/beta|momentum/.test(name)) return slider(name, 0, 4, -Math.log10(1 - p[name]), false, (u) => change(name)(+(1 - 10 ** -u).toPrecision(4)), (u) => memory(u > 4 ? 1 - 1e-4 : 1 - 10 ** -u), 0.05);
        return slider(name, -12, 2, p[name], true, (v) => change(name)(v <= 1e-12 ? 0 : v), (v) => say(v <= 1e-12 ? 0 : v));
      });
      const key = (name, e) => (e.dataset.key = k + name, e);
      more.push(key("clip", choice("clip", [["none", "no clip"], ["before", "gradient, before the rule"], ["behind", "step, behind the rule"]], lane.clip, (v) => editLane(k, { clip: v }))));
      if (lane.clip !== "none") more.push(slider("limit of the clip", -2, 2, lane.limit, true, (v) => editLane(k, { limit: v })));
      const remembered = ui.lanes.children[k]?.querySelector?.("details")?.open;
      return h("fieldset.lane", {},
        h("legend", {}, swatch(k), `Lane ${letter(k)}`),
        key("rule", choice("rule", Object.keys(data.rules).map((r) => [r, r]), lane.rule, (r) => {
          const old = state.lanes[k];
          editLane(k, { rule: r, p: { ...data.rules[r].p, lr: state.linked ? old.p.lr : null } });
        })),
        slider("learning rate", -6, 2, p.lr, true, (v) => editRate(k, v)),
        h("div.buttons", {},
          h("button", { "data-key": k + "tune", title: "Try 25 rates and take the best", onclick: () => { tune(k); edit({}); } }, "Tune"),
          h("button", { "data-key": k + "watch", "aria-pressed": String(focus === k), title: "Show this lane’s gradient, direction and step on the map", onclick: () => { focus = k; controls(); draw(); } }, "Arrows"),
          state.lanes.length > 1 ? h("button", { "aria-label": `Remove lane ${letter(k)}`, onclick: () => edit({ lanes: state.lanes.filter((_, j) => j !== k) }) }, "Remove") : ""),
        h("details", { open: remembered }, h("summary", {}, "memories, ε, clip"), ...more));
    }

    function addLane() {
      const unused = ["Adam", "SGD", "sign", "heavy ball"].find((r) => !state.lanes.some((l) => l.rule === r));
      edit({ lanes: [...state.lanes, { rule: unused, p: { ...data.rules[unused].p, lr: null }, clip: "none", limit: 1 }] });
    }

    function shared() {
      const l = land(), noise = state.noise, kinds = Object.entries(data.kinds).filter(([k]) => (k === "counts") === (state.landscape === "counts"));
      const parts = [
        Object.assign(choice("landscape", Object.entries(data.landscapes).map(([name, each]) => [name, each.title]), state.landscape, (v) => edit({ landscape: v }))),
      ];
      parts[0].dataset.key = "landscape";
      const formula = h("div.formula", { tabindex: "0", role: "group", "aria-label": "Formula" });
      formula.innerHTML = l.formula;
      formula.append(h("p", {}, l.note));
      parts.push(formula);
      for (const [name, p] of Object.entries(l.parameters))
        parts.push(slider(p.label, p.log ? Math.log10(p.low) : p.low, p.log ? Math.log10(p.high) : p.high, state.values[name], p.log, (v) => {
          const value = p.log ? v : Math.round(v * 100) / 100, change = { values: { ...state.values, [name]: /every|begin|length/.test(name) ? Math.round(value) : value } };
          if (name === "turn" && l.turns) change.start = rotate(state.start, value - state.values.turn);
          edit(change);
        }));
      state.start.forEach((v, i) => {
        const [low, high] = state.box[i].map((b) => b * l.scale(state.values)[i]);
        parts.push(slider("start θ" + "₁₂"[i], Math.min(low, v), Math.max(high, v), v, false, (u) => edit({ start: state.start.map((a, j) => (j === i ? u : a)) })));
      });
      if (kinds.length > 1) parts.push(Object.assign(choice("noise", kinds, noise.kind, (kind) => edit({ noise: { ...noise, kind, size: noise.size || 1 } }))));
      if (!["none", "counts"].includes(noise.kind)) parts.push(slider("size of the noise", -2, 1.5, noise.size, true, (size) => edit({ noise: { ...state.noise, size } })));
      if (noise.kind !== "none") parts.push(slider("seed of the noise", 1, 100, noise.seed, false, (seed) => edit({ noise: { ...state.noise, seed } }), String, 1));
      parts.push(slider("steps", 1, 3.8, state.steps, true, (v) => edit({ steps: Math.round(v), first: Math.min(state.first, Math.round(v) - 10), t: Math.round(v) }), (v) => String(Math.round(v))));
      if (state.start.length > 1) parts.push(choice("coordinates in the plots", [["both", "both: thick θ₁, thin θ₂"], ["1", "θ₁"], ["2", "θ₂"]], state.show, (show) => { set({ show }, { keep: true }); }));
      const linked = h("input", { type: "checkbox", "data-key": "linked", checked: state.linked, onchange: (e) => edit({ linked: e.target.checked, lanes: state.lanes.map((lane) => ({ ...lane, p: { ...lane.p, lr: e.target.checked ? state.lanes[focus].p.lr : null } })) }) });
      parts.push(h("label.check", {}, linked, "one learning rate for all lanes (unfair: untick to give each its best)"));
      return parts;
    }

    /* -- loss against learning rate, on demand */
    function drawSweep() {
      const { w, h: hgt } = PLOT, picture = svg("svg", { viewBox: `0 0 ${w} ${hgt + 12}`, role: "img", "aria-label": "Mean loss of the last tenth of the steps against the learning rate, both logarithmic; a cross marks divergence" });
      const all = state.lanes.map((lane) => sweep(data, state, lane)), finite = all.flat().filter((v) => v > 0 && v < 1e12);
      const low = Math.max(Math.log10(Math.min(...finite)) - 0.2, Math.log10(Math.max(...finite)) - 14), high = Math.log10(Math.max(...finite)) + 0.3;
      const x = (lr) => PLOT.l + ((Math.log10(lr) + 6) / 8) * (w - PLOT.l - PLOT.r), y = (v) => hgt - PLOT.b - ((Math.log10(v) - low) / (high - low)) * (hgt - PLOT.t - PLOT.b - 12);
      const grid = svg("g", { class: "grid" }, picture), every = Math.max(1, Math.ceil((high - low) / 4));
      for (let k = Math.ceil(low); k <= high; k += every) {
        svg("line", { x1: PLOT.l, x2: w - PLOT.r, y1: y(10 ** k), y2: y(10 ** k) }, grid);
        svg("text", { x: PLOT.l - 6, y: y(10 ** k) + 4, "text-anchor": "end" }, grid).textContent = power(k);
      }
      for (let k = -6; k <= 2; k += 2) svg("text", { x: x(10 ** k), y: hgt - 6, "text-anchor": "middle" }, grid).textContent = power(k);
      svg("text", { x: w - PLOT.r, y: hgt + 9, "text-anchor": "end" }, grid).textContent = "learning rate; cross: diverged; ring: the lane’s own";
      all.forEach((losses, k) => {
        const { colour, dash } = look(k), good = losses.map((v, j) => [RATES[j], v]).filter(([, v]) => v > 0 && v < 1e12);
        svg("polyline", { points: good.map(([lr, v]) => `${x(lr)},${y(v)}`).join(" "), stroke: colour, fill: "none", "stroke-width": 2.2, "stroke-dasharray": dash.join(" ") }, picture);
        losses.forEach((v, j) => { if (!(v < 1e12)) svg("path", { d: `M${x(RATES[j]) - 3} ${PLOT.t + 4 * k - 2}l6 6m0 -6l-6 6`, stroke: colour, "stroke-width": 1.4 }, picture); });
        const own = lateLoss(paths[k]);
        if (own > 0 && own < 1e12) svg("circle", { cx: x(state.lanes[k].p.lr), cy: y(own), r: 5.5, fill: "none", stroke: colour, "stroke-width": 2.4 }, picture);
      });
      ui.sweep.replaceChildren(picture);
    }

    /* -- what the reader takes along */
    function download(name, type, text) {
      const a = h("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
      a.click();
      setTimeout(() => URL.revokeObjectURL(a.href), 1000);
    }

    function csv() {
      const d = state.start.length, columns = ["x", "g", "rate", "direction", "step"].flatMap((n) => Array.from({ length: d }, (_, i) => `${n}${i + 1}`));
      const lines = [["lane", "rule", "t", ...columns, "loss"].join(",")];
      paths.forEach((path, k) => {
        for (let t = 0; t < path.n; t++) {
          const f = frame(path, t);
          lines.push([letter(k), title(k), t, ...f.x, ...f.g, ...f.rate, ...f.direction, ...f.step, f.loss].join(","));
        }
      });
      return lines.join("\n") + "\n";
    }

    function picture() {
      const style = `text{font:12px sans-serif;fill:${ink.ink}}.grid line{stroke:${ink.soft};opacity:.3}.cursor{stroke:${ink.soft}}`;
      const out = svg("svg", { xmlns: SVG, viewBox: "0 0 980 620", width: 980, height: 620 });
      svg("style", {}, out).textContent = style;
      svg("rect", { width: 980, height: 620, fill: ink.paper }, out);
      svg("image", { href: ui.map.toDataURL(), x: 10, y: 10, width: 480, height: 360 }, out);
      Object.entries(ui.plots).forEach(([, part], k) => {
        const copy = part.picture.cloneNode(true);
        for (const [a, v] of Object.entries({ x: 505, y: 30 + 195 * k, width: 460, height: 168 })) copy.setAttribute(a, v);
        out.append(copy);
        svg("text", { x: 555, y: 26 + 195 * k }, out).textContent = part.figure.firstChild.textContent;
      });
      state.lanes.forEach((_, k) => {
        const mark = swatch(k);
        for (const [a, v] of Object.entries({ x: 20, y: 390 + 22 * k, width: 30, height: 14 })) mark.setAttribute(a, v);
        out.append(mark);
        svg("text", { x: 58, y: 402 + 22 * k }, out).textContent = `${title(k)}, learning rate ${say(state.lanes[k].p.lr)}`;
      });
      return new XMLSerializer().serializeToString(out);
    }

    async function copy(text, button) {
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        ui.copied.hidden = false; // no clipboard here
        ui.copied.value = text;
        ui.copied.select();
        return;
      }
      const label = button.textContent;
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = label), 1500);
    }

    function table() {
      const path = paths[focus], d = state.start.length, every = Math.max(1, Math.ceil((state.steps - state.first) / 60)), rows = [];
      const columns = ["x", "gradient", "rate", "direction", "step"].flatMap((n) => (d > 1 ? [n + " θ₁", n + " θ₂"] : [n]));
      for (let t = state.first; t < path.n; t += every) {
        const f = frame(path, t);
        rows.push(h("tr", {}, h("th", { scope: "row" }, String(t)), ...[...f.x, ...f.g, ...f.rate, ...f.direction, ...f.step, f.loss].map((v) => h("td", {}, say(v)))));
      }
      const head = h("tr", {}, ...["t", ...columns, "loss"].map((c) => h("th", { scope: "col" }, c)));
      ui.table.replaceChildren(h("table", {}, h("caption", {}, `${title(focus)}, every ${every === 1 ? "step" : every + " steps"}`), h("thead", {}, head), h("tbody", {}, ...rows)));
    }

    /* -- building */
    function build() {
      ui.presets = h("div.presets", { role: "group", tabindex: 0, "aria-label": "Questions" }, ...data.presets.map((p) => h("button", { id: "preset=" + p.name, value: p.name, "aria-pressed": "false", onclick: () => ask(p.name) }, p.title)));
      ui.question = h("section.question", { "aria-label": "Question" });
      ui.map = h("canvas.map", { role: "application", tabindex: "0", "aria-label": "Map of the loss with the paths. Arrow keys move the start; the table below has the numbers." });
      ui.plots = Object.fromEntries((strip ? ["rate", "step"] : ["rate", "step", "loss"]).map((name) => [name, plotFrame(name)]));
      ui.play = h("button.play", { onclick: () => { play(); if (playing) ui.map.scrollIntoView({ block: "nearest" }); } }, "Play");
      ui.scrub = h("input", { type: "range", min: 0, max: 1, step: 1, "aria-label": "step" });
      ui.scrub.addEventListener("input", () => go(+ui.scrub.value));
      ui.clock = h("output.clock", {}, "");
      ui.speed = h("select", { "aria-label": "speed" }, ...SPEEDS.map((v) => h("option", { value: v }, `${v} steps/s`)));
      ui.status = h("p.visually-hidden", { role: "status" });
      ui.rows = h("tbody");
      ui.coordinateHead = h("th", { scope: "col" }, h("span.visually-hidden", {}, "coordinate"));
      const sign = () => h("td.sign", { "aria-hidden": "true" });
      const head = h("tr", {}, h("th", { scope: "col" }, "rule"), ui.coordinateHead, h("th", { scope: "col" }, "rate"), sign(), h("th", { scope: "col" }, "direction"), sign(), h("th", { scope: "col" }, "step"), h("th.loss", { scope: "col" }, "loss"));
      const transport = h("div.transport", { role: "group", "aria-label": "Transport" }, ui.play,
        h("button", { "aria-label": "One step back", onclick: () => go(state.t - 1) }, "‹"), h("button", { "aria-label": "One step on", onclick: () => go(state.t + 1) }, "›"),
        h("label.scrub", {}, ui.scrub, ui.clock), h("label.speed", {}, ui.speed), h("button", { onclick: () => go(state.first) }, "Reset"));
      const tabs = h("div.tabs", { role: "group", "aria-label": "Plots" }, ...Object.keys(ui.plots).map((name) => h("button", { value: name, "aria-pressed": "false", onclick: () => tab(name) }, name)));
      const plots = h("div.plots", {}, tabs, ...Object.values(ui.plots).map((p) => p.figure));
      const legend = h("p.legend", {}, "Arrows of one lane: ", h("span.key.g", {}, "against the gradient"), h("span.key.d", {}, "against the direction"), h("span.key.s", {}, "the step, in true length"));
      const numbers = h("div.readout", { role: "group", tabindex: "0", "aria-label": "Readout" }, h("table", {}, h("caption.visually-hidden", {}, "rate × direction = step, at the clock"), h("thead", {}, head), ui.rows));
      const views = h("div.views", {}, h("div.left", {}, ui.map, legend, ...(strip ? [] : [numbers])), plots);
      const chosen = strip ? [] : [ui.presets];
      root.replaceChildren(...chosen, ui.question, views, ...(strip ? [numbers] : []), transport, ui.status);
      if (!strip) root.append(...workshop());
      tab("step");
      dragging();
      hovers(ui.map, nearest);
      keys();
      const anew = () => { colours(); width = base = null; draw(); };
      new MutationObserver(anew).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
      addEventListener("resize", anew);
      for (const [event, value] of [["beforeprint", true], ["afterprint", false]]) addEventListener(event, () => { printing = value; anew(); });
      addEventListener("hashchange", () => { const next = decode(data, location.hash.slice(1)); if (next && !strip) open(next); });
    }

    function tab(name) {
      for (const [key, part] of Object.entries(ui.plots)) part.figure.classList.toggle("shown", key === name);
      for (const b of root.querySelectorAll(".tabs button")) b.setAttribute("aria-pressed", String(b.value === name));
    }

    function workshop() {
      ui.lanes = h("div.lanes", {});
      ui.shared = h("div.shared", {});
      ui.sweep = h("div.sweep", {});
      ui.sweepBox = h("details.more", { ontoggle: () => ui.sweepBox.open && drawSweep() }, h("summary", {}, "Loss against learning rate"), ui.sweep);
      ui.table = h("div.table-scroll", { role: "group", tabindex: "0", "aria-label": "The path as a table" });
      ui.copied = h("textarea", { readonly: true, hidden: true, rows: 4, "aria-label": "To copy by hand" });
      const text = (label, make) => h("button", { onclick: (e) => copy(make(), e.currentTarget) }, label);
      const sheet = h("details.sheet", { open: matchMedia("(min-width: 601px)").matches }, h("summary", {}, "Lanes and landscape"), ui.lanes, h("fieldset.all", {}, h("legend", {}, "For all lanes"), ui.shared));
      return [
        sheet,
        h("div.take", { role: "group", "aria-label": "Take along" },
          h("button", { onclick: () => { fit(); draw(); } }, "Refit axes"),
          text("Copy link", () => location.href.split("#")[0] + "#" + encode(state)), text("Copy as Python", () => python(data, state, state.lanes[focus])),
          h("button", { onclick: () => download("explorer.csv", "text/csv", csv()) }, "CSV"), h("button", { onclick: () => download("explorer.svg", "image/svg+xml", picture()) }, "SVG")),
        ui.copied, ui.sweepBox,
        h("details.more", { ontoggle: (e) => e.target.open && table() }, h("summary", {}, "The path as a table"), ui.table),
        h("details.more", {}, h("summary", {}, "Keyboard"), h("p", {}, "Tab reaches everything. In a slider arrows move finely, Page Up and Page Down coarsely; on the map they move the start. Outside fields: space plays and pauses, , and . go one step back and on, 0 goes to the start, f refits the axes.")),
      ];
    }

    // the start follows the pointer and the arrow keys
    function dragging() {
      if (strip) return;
      let held = false;
      const move = (e) => {
        const box = ui.map.getBoundingClientRect(), geo = geometry();
        const point = [geo.x(e.clientX - box.left), geo.y(e.clientY - box.top)].map((v) => +v.toPrecision(4));
        edit({ start: point.slice(0, state.start.length), t: state.steps });
      };
      ui.map.addEventListener("pointerdown", (e) => {
        const geo = geometry(), box = ui.map.getBoundingClientRect(), y = state.start.length > 1 ? geo.Y(state.start[1]) : e.clientY - box.top;
        held = Math.hypot(e.clientX - box.left - geo.X(state.start[0]), e.clientY - box.top - y) < 40;
        if (held) ui.map.setPointerCapture(e.pointerId), (hover = null);
      });
      ui.map.addEventListener("pointermove", (e) => held && move(e));
      ui.map.addEventListener("pointerup", () => (held = false));
      ui.map.addEventListener("keydown", (e) => {
        const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
        if (!by) return;
        e.preventDefault();
        const scale = land().scale(state.values);
        edit({ start: state.start.map((v, i) => +(v + (by[i] * (state.box[i][1] - state.box[i][0]) * scale[i]) / 50).toPrecision(6)), t: state.steps });
      });
    }

    function keys() {
      root.addEventListener("keydown", (e) => {
        if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
        const actions = { ",": () => go(state.t - 1), ".": () => go(state.t + 1), 0: () => go(state.first), f: () => { fit(); draw(); }, " ": play };
        if (!actions[e.key] || (e.key === " " && /^(BUTTON|SUMMARY|A)$/.test(e.target.tagName))) return;
        e.preventDefault();
        actions[e.key]();
      });
    }

    // a link's state: as it is; a preset's name alone asks its question
    function open(next) {
      const plain = !location.hash.includes("land=") || strip;
      if (plain && next.preset) return ask(next.preset);
      asked = null;
      set(next);
      question();
    }

    build();
    colours();
    const linked = strip ? null : decode(data, location.hash.slice(1));
    if (linked) open(linked);
    else ask(root.dataset.preset || data.presets[0].name);
    return { set, state: () => structuredClone(state), frame: (t) => paths.map((path) => frame(path, t)), draw: () => { simulate(); draw(); }, python: (k) => python(data, state, state.lanes[k]), core };
  }

  function begin() {
    const all = [...document.querySelectorAll(".explorer[data-mode]")].map((root) => explore(root, globalThis.explorerData));
    window.explorer = all[0]; // an element's id may stand there before
    document.documentElement.classList.add("explorer-runs");
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
