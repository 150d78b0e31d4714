// The chapters' moving pictures. Rules, landscapes and first states are in pictures_data.js, printed from the library; this
// file computes with them (first part, no page needed) and shows them (second part). Nothing moves unless the reader moves it.
(() => {
  "use strict";

  /* ---- the numbers -------------------------------------------------------------------------------------------- */

  const mix = (h) => {
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return (h ^ (h >>> 16)) >>> 0;
  };
  // in (0, 1), from a hash of seed, step and draw; normal and Poisson numbers: as in companion.evidence.landscapes
  const uniform = (seed, t, draw) => (mix(mix((seed + 0x9e3779b9) | 0) ^ (t * 8 + draw)) + 0.5) / 2 ** 32;
  const normals = (seed, t) => {
    const radius = Math.sqrt(-2 * Math.log(uniform(seed, t, 0))), angle = 2 * Math.PI * uniform(seed, t, 1);
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  };
  const poisson = (mean, u) => {
    let k = 0, p = Math.exp(-mean), total = p;
    for (; total < u && k < 10000; total += p) p *= mean / ++k;
    return k;
  };

  const range = (n, make = (k) => k) => Array.from({ length: n }, (_, k) => make(k));
  const sum = (values) => values.reduce((a, b) => a + b, 0), mean = (values) => sum(values) / values.length;
  const within = (v, low, high) => Math.min(Math.max(v, low), high);

  // at most n steps of a rule from x, until `grad` has nothing to say; s is the rule's state before the first of them
  function walk(rule, p, grad, x, n, s = rule.init(x)) {
    const path = { x: [x], rate: [], direction: [], step: [] };
    for (let t = 0, g; t < n && (g = grad(x, t)); t++) {
      const [next, rate, direction] = rule.step(s, g, x, p), step = rate.map((r, i) => r * direction[i]);
      s = next;
      x = x.map((v, i) => v - step[i]);
      path.x.push(x);
      path.rate.push(rate);
      path.direction.push(direction);
      path.step.push(step);
    }
    return path;
  }
  // a path of one coordinate as numbers; and what a rule makes of gradients that are known
  const line = (path) => Object.fromEntries(Object.entries(path).map(([name, values]) => [name, values.map(([v]) => v)]));
  const respond = (rule, p, gradients, s) => line(walk(rule, p, (_, t) => [gradients[t]], [0], gradients.length, s));

  // a rule's state with every leaf at `value` and the weights of its averages at 1: long before, gradients of that size
  const settled = (rule, value) => Object.fromEntries(Object.entries(rule.init([0])).map(([k, v]) => [k, Array.isArray(v) ? [value] : 1]));
  const unit = (degrees) => [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  const degrees = (x, y) => (Math.atan2(y, x) * 180) / Math.PI;

  /* symmetric matrices [[a, b], [b, c]] as [a, b, c] */
  const times = ([a, b, c], [x, y]) => [a * x + b * y, b * x + c * y];
  const dot = ([x, y], [u, v]) => x * u + y * v;
  const determinant = ([a, b, c]) => a * c - b * b;
  // first along the direction of `degrees`, second across it
  function turned(first, second, degrees) {
    const [c, s] = unit(degrees);
    return [first * c * c + second * s * s, (first - second) * c * s, first * s * s + second * c * c];
  }
  // trace of Q^-1 P
  const ratio = (P, Q) => (P[0] * Q[2] - 2 * P[1] * Q[1] + P[2] * Q[0]) / determinant(Q);
  // sqrt(largest / smallest eigenvalue of Q^-1 P) - 1
  function lawDefect(P, Q) {
    const half = ratio(P, Q) / 2, root = Math.sqrt(Math.max(half * half - determinant(P) / determinant(Q), 0));
    return Math.sqrt((half + root) / (half - root)) - 1;
  }
  // KL(N(0, P) || N(0, Q))
  const divergence = (P, Q) => (ratio(P, Q) - 2 - Math.log(determinant(P) / determinant(Q))) / 2;
  // points D with D'GD = 1, all at the same distance from the next in angle
  const ball = (G, scale = 1) => range(121, (k) => unit(3 * k)).map((u) => u.map((c) => (c * scale) / Math.sqrt(dot(u, times(G, u)))));
  // B + y y' / s'y - B s s'B / s'Bs
  function bfgs(B, s, y) {
    const Bs = times(B, s), sy = dot(s, y), sBs = dot(s, Bs), of = (i, j) => (y[i] * y[j]) / sy - (Bs[i] * Bs[j]) / sBs;
    return [B[0] + of(0, 0), B[1] + of(0, 1), B[2] + of(1, 1)];
  }

  const BEFORE = 500, HORIZON = 9000, TURNS = 60, WALKERS = 60, LEAPS = 60, MOLECULES = 100, VISITS = 5;
  const CLIENTS = { count: 6, rows: 40, d: 8, sigma: 0.3 };
  const LIP = { curvature: 1000, width: 0.3, start: -4.3, steps: 5000, soon: 100 }, TARGET = { loss: 1e-4, hold: 200, steps: 1000, paces: 100 };
  const BURST = { base: 0.5, begin: 2000, end: 2100, steps: 6000, late: [2500, 3500] }, WATCHED = { AdaGrad: { lr: 1 }, "clipped AdaGrad": { lr: 3.2 }, Adam: { lr: 0.032 } }, TWINS = {};

  const compute = {
    the_rules({ rule, gradients, t }, data) {
      const r = data.rules[rule], path = respond(r, { ...r.p, lr: 1 }, [...Array(BEFORE).fill(1), ...gradients]);
      for (const values of Object.values(path)) values.splice(0, BEFORE);
      return { path, numbers: { gradient: gradients[t], rate: path.rate[t], direction: path.direction[t], step: path.step[t] } };
    },

    plateau_and_valley({ rule, lr, slope, memory, t }, data) {
      const { width, steps, soon } = LIP, r = data.rules[rule], at = { ...LIP, slope }, beta2 = rule === "Adam" ? 1 - 1 / memory : r.p.beta2;
      const g = (x) => data.plateau.g(x, 0, at), path = line(walk(r, { ...r.p, lr, beta2, eps: 0 }, g, [LIP.start], steps)), { x } = path;
      const found = x.findIndex((v) => v >= -width), arrived = found >= 0 && found < steps, lip = arrived ? found : steps;
      // both over the last on the plateau, where t is 0
      const [rate, step] = [path.rate, path.step].map((values) => values.map((v) => Math.abs(v / values[lip - 1])));
      const here = within(lip - 1 + t, 0, steps - 1), next = (values, f) => (arrived ? f(...values.slice(lip, lip + soon)) : NaN);
      const outside = x.findLastIndex((v) => !(Math.abs(v) <= 0.05 * width)), back = arrived && x.slice(lip).some((v) => v < -width);
      return {
        x, rate, step, lip, here, arrived, back, height: (v) => data.plateau.f([v], 0, at) / data.plateau.f([-width], 0, at),
        numbers: { arrived: arrived ? lip : Infinity, gradient: g([x[here]])[0], rate: rate[here], step: step[here], lowest: next(rate, Math.min), longest: next(step, Math.max), settled: outside < 0.75 * steps ? outside + 1 : Infinity },
      };
    },

    feature_scales({ rule, size, lr }, data) {
      const r = data.rules[rule], { hold, steps, paces } = TARGET;
      function fit(S, n) {
        const at = { size: S, correlation: 0.3 }, loss = (x) => data.units.f(x, 0, at) / data.units.f([0, 0], 0, at), losses = [];
        let last = 0;
        const grad = (x, t) => {
          losses.push(loss(x));
          if (!(losses[t] <= TARGET.loss)) last = t;
          return losses[t] < 1e12 && t - last < hold && data.units.g(x, 0, at);
        };
        const path = walk(r, { ...r.p, lr, eps: 0 }, grad, [0, 0], n), done = losses.length - 1 - last >= hold ? last + 1 : Infinity;
        const [own, other] = [0, 1].map((i) => sum(path.step.slice(0, paces).map((d) => Math.abs(d[i]))));
        return { losses, pace: own / other, done, peak: Math.max(...losses.slice(0, done)) };
      }
      const [large, equal] = [size, 1].map((S) => fit(S, steps + hold)), sizes = range(31, (k) => 10 ** (k / 10));
      const weights = sizes.map((S) => [S, fit(S, paces).pace]), prediction = weights.map(([S, v]) => [S, S * v]);
      return { large, equal, weights, prediction, numbers: { weights: large.pace, prediction: size * large.pace, peak: large.peak < 1e12 ? large.peak : Infinity, done: large.done, equal: equal.done } };
    },

    poisson_bursts({ size, memory }, data) {
      const { base, begin, end, steps, late } = BURST, beta2 = 1 - 1 / memory, lanes = {}, numbers = {};
      const quiet = range(steps, (t) => poisson(base, uniform(1, t, 0))), counts = quiet.map((y, t) => (t < begin || t >= end ? y : y + poisson(base * (size - 1), uniform(1, t, 1))));
      for (const [name, p] of Object.entries(WATCHED)) {
        const rule = data.rules[name], follow = (y) => line(walk(rule, { ...rule.p, ...p, beta2, eps: 0 }, ([x], t) => [Math.exp(x) - y[t]], [0], steps));
        if (TWINS[name]?.beta2 !== beta2) TWINS[name] = { beta2, ...follow(quiet) };
        const own = follow(counts), twin = TWINS[name];
        const far = (path, from, to) => sum(path.step.slice(from, to).map(Math.abs)), moved = (...when) => far(own, ...when) / far(twin, ...when);
        const rate = own.rate.map((r, t) => r / twin.rate[t]), kept = rate[end - 1], owed = own.rate[end - 1] ** -2 - twin.rate[end - 1] ** -2;
        // what the state at the end of the burst predicts: of a sum, and of an average
        const law = range(steps - end, (k) => (name === "Adam" ? 1 / Math.sqrt(1 + (kept ** -2 - 1) * beta2 ** (k + 1)) : 1 / Math.sqrt(1 + owed * twin.rate[end + k] ** 2)));
        lanes[name] = { forecast: own.x.map(Math.exp), rate, law, moved: range(steps / 100, (k) => moved(100 * k, 100 * (k + 1))) };
        Object.assign(numbers, { [`${name} kept`]: kept, [`${name} burst`]: moved(begin, end), [`${name} late`]: moved(...late) });
      }
      const debt = end * (numbers["AdaGrad kept"] ** -2 - 1), until = Math.max(0, Math.log((numbers["Adam kept"] ** -2 - 1) / (0.9 ** -2 - 1)) / -Math.log(beta2));
      return { counts, lanes, numbers: { ...numbers, debt, until } };
    },

    gradient_clipping({ size, clip }, data) {
      const gradients = range(HORIZON, (k) => (k ? 1 : size));
      const [raw, clipped] = ["Adam", "clipped Adam"].map((name) => {
        const rule = data.rules[name];
        return respond(rule, { ...rule.p, lr: 1, eps: 0, limit: clip }, gradients, settled(rule, 1)).rate;
      });
      const frozen = (rates) => rates.findIndex((r) => r >= 1 / 1.1), lost = (rates) => sum(rates.map((r) => 1 - r));
      return { raw, clipped, numbers: { lowest: raw[0], frozen: frozen(raw), lost: lost(raw), lowest_clip: clipped[0], frozen_clip: frozen(clipped), lost_clip: lost(clipped) } };
    },

    sparse_embeddings({ gap }, data) {
      const gradients = range(VISITS * gap, (t) => (t % gap ? 0 : 1)), { Adam: adam, "lazy Adam, shared clock": shared } = data.rules;
      const go = (rule, g, s) => respond(rule, { ...rule.p, lr: 1, eps: 0 }, g, s).step, visits = Array(VISITS).fill(1);
      const steps = { dense: go(adam, gradients, settled(adam, 0)), shared: go(shared, visits, settled(shared, 0)), own: go(adam, visits) };
      const first = sum(steps.dense.slice(0, gap)), rho = adam.p.beta1 / Math.sqrt(adam.p.beta2), { beta1, beta2 } = adam.p;
      const reach = ((1 - beta1) / (1 - beta1 ** gap)) * Math.sqrt((1 - beta2 ** gap) / (1 - beta2)) * ((1 - rho ** gap) / (1 - rho));
      return { steps, numbers: { dense: first, idle: 1 - steps.dense[0] / first, shared: steps.shared[0], own: steps.own[0], reach } };
    },

    adversarial_training({ play, start, rate, memory }, data) {
      const adam = play === "Adam", rule = data.rules[adam ? "Adam" : "SGD"], beta2 = 1 - 1 / memory, { beta1 } = data.rules.Adam.p;
      const circle = Math.sqrt((8 * (1 + beta1)) / ((1 - beta1) * (1 - beta2))), p = { ...rule.p, beta2, eps: 1e-9, lr: adam ? 1 / circle : rate };
      const field = (z) => data.game.g(z, 0, { strength: 1 }), ahead = (z) => field(z).map((f, i) => z[i] - rate * f);
      let path = [start];
      if (play === "turns") {
        for (let t = 0, z = start, s = z.map((v) => rule.init([v])), r, d; t < TURNS; t++) {
          for (const i of [0, 1]) {
            [s[i], r, d] = rule.step(s[i], [field(z)[i]], [z[i]], p);
            z = z.map((v, k) => (k === i ? v - r[0] * d[0] : v));
          }
          path.push(z);
        }
      } else path = walk(rule, p, (z) => field(play === "ahead" ? ahead(z) : z), start, adam ? Math.min(40 * memory, 8000) : TURNS).x;
      const law = { once: Math.sqrt(1 + rate ** 2), turns: 1, ahead: Math.sqrt(1 - rate ** 2 + rate ** 4), Adam: NaN }[play];
      const end = adam ? mean(path.slice(-Math.floor(path.length / 5)).map((q) => Math.hypot(...q))) : Math.hypot(...path.at(-1));
      return { path, numbers: { start: Math.hypot(...start), end, factor: law, circle } };
    },

    federated_learning({ shift, noise }) {
      const { count, rows, d, sigma } = CLIENTS, variance = range(count, (k) => sigma ** 2 * (k === count - 1 ? noise ** 2 : 1));
      const equal = variance.map(() => 1 / count), total = sum(variance.map((v) => 1 / v)), inverse = variance.map((v) => 1 / v / total);
      const spread = (w) => (d / rows) * sum(w.map((wk, k) => wk ** 2 * variance[k])), last = count - 1;
      const noisy = (w, delta) => spread(w) + (1 - w[last]) ** 2 * delta ** 2, quiet = (w, delta) => spread(w) + w[last] ** 2 * delta ** 2;
      const crossover = Math.sqrt((spread(equal) - spread(inverse)) / ((1 - inverse[last]) ** 2 - (1 - equal[last]) ** 2));
      const curve = (error, w) => range(81, (k) => [k / 40, error(w, k / 40)]);
      return {
        curves: { noisy_equal: curve(noisy, equal), noisy_inverse: curve(noisy, inverse), quiet_equal: curve(quiet, equal), quiet_inverse: curve(quiet, inverse) },
        numbers: { quiet_equal: quiet(equal, shift), quiet_inverse: quiet(inverse, shift), noisy_equal: noisy(equal, shift), noisy_inverse: noisy(inverse, shift), crossover },
      };
    },

    tau_leaping({ z }, data) {
      const rule = data.rules.SGD, p = { ...rule.p, lr: z }, clouds = { molecules: [], gradients: [] }, law = [0];
      let refused = 0;
      for (let w = 0; w < WALKERS; w++) {
        const path = walk(rule, p, ([x], t) => [x + normals(w, t)[0]], [0], LEAPS);
        clouds.gradients.push(path.x.map(([x]) => x / Math.sqrt(z / 2)));
        clouds.molecules.push([0]);
        for (let t = 0, n = MOLECULES; t < LEAPS; t++) {
          const leapt = n + poisson(MOLECULES * z, uniform(w, t, 2)) - poisson(n * z, uniform(w, t, 3));
          if (leapt < 0) refused++;
          else n = leapt;
          clouds.molecules[w].push((n - MOLECULES) / Math.sqrt(MOLECULES));
        }
      }
      for (let t = 0; t < LEAPS; t++) law.push((1 - z) ** 2 * law[t] + 2 * z);
      const late = (runs) => mean(runs.flatMap((run) => run.slice(LEAPS / 2)).map((v) => v * v));
      return { clouds, law, numbers: { law: z < 2 ? 1 / (1 - z / 2) : Infinity, expected: mean(law.slice(LEAPS / 2)), molecules: late(clouds.molecules), gradients: late(clouds.gradients), refused } };
    },

    riemannian_metric({ angle, stretch }) {
      const V = turned(stretch ** 2, 1, angle), metrics = { second: V, v: [V[0], 0, V[2]], root: [Math.sqrt(V[0]), 0, Math.sqrt(V[2])] };
      const along = { second: V, v: V, root: turned(stretch, 1, angle) }; // the same three, drawn in the data's own axes and turned with them
      const defect = (name) => lawDefect(metrics[name], along[name]);
      return { V, metrics, along, numbers: { v1: V[0], v2: V[2], defect_second: defect("second"), defect_v: defect("v"), defect_root: defect("root") } };
    },

    quasi_newton({ secants, next, condition, turn }) {
      const A = turned(1, condition, turn), metrics = [[1, 0, 1]], pairs = secants.map(unit).map((s) => [s, times(A, s)]);
      for (const [s, y] of pairs) metrics.push(bfgs(metrics.at(-1), s, y));
      const B = metrics.at(-1), miss = ([s, y]) => Math.hypot(...times(B, s).map((v, i) => v - y[i])) / Math.hypot(...y);
      const y = times(A, unit(secants.at(-1) ?? next)), conjugate = ((degrees(...y) + 90) % 180 + 180) % 180;
      return {
        A, metrics, conjugate,
        numbers: { count: secants.length, divergence: divergence(B, A), newest: pairs.length ? miss(pairs.at(-1)) : NaN, oldest: pairs.length > 1 ? miss(pairs[0]) : NaN },
      };
    },
  };

  if (typeof document === "undefined") {
    module.exports = { compute, ball, lawDefect };
    return;
  }

  /* ---- the page --------------------------------------------------------------------------------------------------- */

  const UP = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  function say(v, digits = 3) {
    if (v === 0) return "0";
    if (!Number.isFinite(v)) return Number.isNaN(v) ? "–" : v < 0 ? "−∞" : "∞";
    const [m, k] = v.toExponential(1).split("e"), power = "10" + (+k < 0 ? "⁻" : "") + [...String(Math.abs(k))].map((c) => UP[c]).join("");
    const large = Math.abs(v) >= 1000 && +k < 6, text = +k < -3 || +k > 5 ? (m === "1.0" ? power : m + "·" + power) : large ? Math.round(v).toLocaleString("en") : String(+v.toPrecision(digits));
    return text.replace("-", "−");
  }
  const percent = (v) => `${(100 * v).toFixed(0)} %`;

  function element(tag, attributes = {}, ...children) {
    const [name, ...classes] = tag.split("."), e = document.createElement(name);
    if (classes.length) e.className = classes.join(" ");
    for (const [k, v] of Object.entries(attributes)) {
      if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
      else e.setAttribute(k, v);
    }
    e.append(...children);
    return e;
  }

  function svg(tag, attributes, parent, text) {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [k, v] of Object.entries(attributes)) if (v !== undefined) e.setAttribute(k, v);
    if (text !== undefined) e.textContent = text;
    parent.append(e);
    return e;
  }

  const SCALES = { linear: [(v) => v, (v) => v], log: [Math.log10, (v) => 10 ** v], asinh: [Math.asinh, Math.sinh] };

  const css = ({ colour, width }) => (colour ? `--lane:${colour};` : "") + (width ? `stroke-width:${width}` : "");

  // axes in the box [left, top, width, height]; x and y: {range, ticks, scale, label, show}
  function axes(view, [left, top, width, height], x, y, title) {
    const g = svg("g", {}, view.root), right = left + width, bottom = top + height;
    const [[fx, ix], [fy, iy]] = [x, y].map((a) => SCALES[a.scale ?? "linear"]);
    const place = (f, [low, high], from, to) => (v) => from + ((f(within(v, low, high)) - f(low)) / (f(high) - f(low))) * (to - from);
    const back = (f, i, [low, high], from, to) => (at) => i(f(low) + ((within(at, Math.min(from, to), Math.max(from, to)) - from) / (to - from)) * (f(high) - f(low)));
    const a = { g, left, right, top, bottom, X: place(fx, x.range, left, right), Y: place(fy, y.range, bottom, top), x: back(fx, ix, x.range, left, right), y: back(fy, iy, y.range, bottom, top) };
    for (const v of y.ticks ?? []) {
      svg("line", { class: "grid", x1: left, x2: right, y1: a.Y(v), y2: a.Y(v) }, g);
      svg("text", { x: left - 6, y: a.Y(v) + 4, "text-anchor": "end" }, g, (y.show ?? say)(v));
    }
    svg("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` }, g);
    for (const v of x.ticks ?? []) {
      svg("path", { class: "axis", d: `M${a.X(v)} ${bottom}v4` }, g);
      svg("text", { x: a.X(v), y: bottom + 17, "text-anchor": "middle" }, g, (x.show ?? say)(v));
    }
    if (x.label) svg("text", { x: right, y: bottom + 33, "text-anchor": "end" }, g, x.label);
    if (title) svg("text", { class: "title", x: left, y: top - 7 }, g, title);
    a.line = (points, style = {}) => {
      const shown = points.filter(([u, v]) => !Number.isNaN(u + v)).map(([u, v]) => `${a.X(u).toFixed(1)},${a.Y(v).toFixed(1)}`).join(" ");
      return svg("polyline", { points: shown, class: "line " + (style.class ?? ""), style: css(style), "stroke-dasharray": style.dash?.join(" ") }, g);
    };
    a.dots = (points, style = {}) => svg("path", { class: "dots " + (style.class ?? ""), style: css(style), d: points.map(([u, v]) => `M${a.X(u).toFixed(1)} ${a.Y(v).toFixed(1)}h0`).join("") }, g);
    a.cursor = (u) => svg("path", { class: "cursor", d: `M${a.X(u)} ${top}V${bottom}` }, g);
    a.level = (v) => svg("path", { class: "line thin", d: `M${left} ${a.Y(v)}H${right}` }, g);
    return a;
  }

  // every n-th of many points, so that a line has no more of them than pixels
  const thin = (values, n = 400, from = 0) => values.map((v, k) => [k + from, v]).filter((_, k) => k % Math.max(1, Math.ceil(values.length / n)) === 0);
  // the same on a logarithmic axis of time, from step 1 on
  const logarithmic = (values, n = 300) => range(n, (k) => Math.round((values.length - 1) ** (k / (n - 1)))).map((t) => [t, values[t]]);

  // a line over time with a cursor and a dot at time t; its first value is that of time `from`
  function strip(a, values, t, look, from = 0) {
    a.cursor(t);
    a.line(values.map((v, k) => [k + from, v]), look);
    a.dots([[t, values[t - from]]], { ...look, width: 9 });
  }

  // what can be dragged: a ring with a target of 44 pixels around it
  function handle(view, a, [u, v], move) {
    const x = a.X(u), y = a.Y(v);
    svg("circle", { class: "target", cx: x, cy: y, r: 22 }, view.root);
    svg("circle", { class: "handle", cx: x, cy: y, r: 8 }, view.root);
    view.held.push({ hit: (px, py) => Math.hypot(px - x, py - y), move: (px, py, again) => move(a.x(px), a.y(py), again) });
  }

  const slider = (key, label, low, high, options = {}) => ({ key, label, low, high, ...options });
  const choice = (key, label, options) => ({ key, label, options });
  const button = (label, change) => ({ label, change });
  const square = (w) => Math.min(w, 400);
  const log = (low, high, ...ticks) => ({ range: [low, high], scale: "log", ticks });
  const wide = (view, top, height, left = 46) => [left, top, view.w - left - 18, height];
  const called = (rule) => (rule === "SGD" ? "gradient descent" : rule);
  const OWN_RATES = { SGD: 0.5, sign: 0.004, AdaGrad: 0.063, RMSProp: 0.004, Adam: 0.004 }; // on the plateau

  const look = {
    the_rules: {
      controls: [
        choice("rule", "rule", ["SGD", "heavy ball", "sign", "AdaGrad", "RMSProp", "Adam", "AMSGrad", "AdaBelief"].map((v) => [v, v])),
        slider("t", "step number", 0, 59, { step: 1 }),
        slider("value", "gradient at this step", -100, 100, { scale: "asinh", get: (s) => s.gradients[s.t], put: (v, s) => ({ gradients: s.gradients.map((g, t) => (t === s.t ? v : g)) }) }),
        ...["constant", "random signs", "alternating", "impulse"].map((name) => button(name, (s, data) => ({ gradients: data.signals[name], t: 15 }))),
      ],
      height: () => 452,
      draw(view, { gradients, t, rule }, { path }, set, data) {
        const box = (top, height) => wide(view, top, height), time = { range: [0, 59] }, signed = { range: [-120, 120], scale: "asinh", ticks: [-100, -10, 0, 10, 100] };
        const fitted = (values) => [3, 12, 120, 1e4].find((v) => v >= Math.max(...values.map(Math.abs))) ?? 1e6, to = (r) => ({ range: [-r, r], ticks: [-r, 0, r] });
        const parts = [
          [axes(view, box(22, 104), time, signed, "gradient: draw it"), gradients, { class: "gradient" }],
          [axes(view, box(152, 70), time, log(0.005, 200, 0.01, 0.1, 1, 10, 100), `rate of ${rule}`), path.rate, data.rules[rule]],
          [axes(view, box(248, 70), time, to(fitted(path.direction)), "direction"), path.direction, data.rules[rule]],
          [axes(view, box(344, 70), { ...time, ticks: [0, 10, 20, 30, 40, 50], label: "step number" }, to(fitted(path.step)), "step = rate × direction"), path.step, data.rules[rule]],
        ];
        for (const [a, values, look] of parts) strip(a, values, t, look);
        const a = parts[0][0];
        svg("rect", { class: "target draw", x: a.left, y: a.top, width: a.right - a.left, height: a.bottom - a.top }, view.root);
        view.held.push({
          hit: (px, py) => (py > a.top - 8 && py < a.bottom + 8 ? 0 : Infinity),
          move(px, py, again) {
            const to = Math.round(a.x(px)), v = a.y(py), g = Math.abs(v) < 0.2 ? 0 : +v.toPrecision(2), from = again ? view.at : to, low = Math.min(from, to), high = Math.max(from, to);
            view.at = to;
            set({ t: to, gradients: view.now().gradients.map((old, k) => (k === to || (k > low && k < high) ? g : old)) });
          },
        });
      },
      say({ t, rule }, { path, numbers: n }) {
        const before = t ? ` One step before, the rate was ${say(path.rate[t - 1])} and the step ${say(path.step[t - 1])}.` : "";
        return `At step ${t} the gradient is ${say(n.gradient)}. ${rule}: rate ${say(n.rate)} × direction ${say(n.direction)} = step ${say(n.step)}.${before}`;
      },
    },

    plateau_and_valley: {
      controls: [
        { ...choice("rule", "rule", Object.keys(OWN_RATES).map((v) => [v, called(v)])), put: (rule) => ({ rule, lr: OWN_RATES[rule] }) },
        slider("t", "steps since the lip", -30, 90, { step: 1 }),
        slider("lr", "learning rate", 1e-3, 1, { scale: "log" }),
        slider("slope", "slope of the plateau", 1e-4, 1, { scale: "log" }),
        slider("memory", "memory 1/(1 − β₂) in steps", 10, 1000, { scale: "log", whole: true, when: (s) => s.rule === "Adam" }),
      ],
      height: () => 476,
      draw(view, { rule, t }, { x, rate, step, lip, here, arrived, height }, set, data) {
        const look = data.rules[rule], near = range(121, (k) => lip - 31 + k).filter((k) => k >= 0 && k < LIP.steps);
        const ground = axes(view, wide(view, 24, 150), { range: [-0.5, 0.4], ticks: [-0.3, 0, 0.3], label: "position" }, { range: [-0.1, 1.8], ticks: [0, 1] }, "height, over the lip’s: drag the walker");
        ground.line(range(91, (k) => -0.5 + k / 100).map((v) => [v, height(v)]), { class: "gradient" });
        const inside = near.filter((k) => Math.abs(x[k] + 0.05) <= 0.45), at = (k) => [x[k], height(x[k])];
        ground.dots(inside.map(at), { ...look, width: 5 });
        const time = { range: [-30, 90] }, rates = axes(view, wide(view, 246, 74), time, log(1e-6, 5, 1e-6, 1e-4, 0.01, 1), `rate of ${called(rule)}, plateau = 1`);
        const steps = axes(view, wide(view, 348, 88), { ...time, ticks: [-30, 0, 30, 60, 90], label: "steps since the lip" }, log(0.005, 500, 0.01, 0.1, 1, 10, 100), "length of the step, plateau = 1");
        for (const [a, values] of [[rates, rate], [steps, step]]) {
          a.level(1);
          strip(a, near.map((k) => values[k]), here - lip + 1, look, near[0] - lip + 1);
        }
        handle(view, ground, at(here), (v) => arrived && set({ t: inside.reduce((best, k) => (Math.abs(x[k] - v) < Math.abs(x[best] - v) ? k : best)) - lip + 1 }));
      },
      say({ rule }, { x, lip, here, arrived, back, numbers: n }) {
        if (!arrived) return `In ${say(LIP.steps)} steps ${called(rule)} does not come to the lip: it has gone ${say(x.at(-1) - LIP.start)} of the plateau’s 4.`;
        const end = Number.isFinite(n.settled) ? `It settles after ${say(n.settled)} steps.` : `In ${say(LIP.steps)} steps it does not settle.`;
        return `After ${say(lip)} steps ${called(rule)} crosses the lip. At step ${say(here - lip + 1)} since the lip the gradient is ${say(n.gradient)}, the rate ${say(n.rate)} times and the step ${say(n.step)} times the plateau’s. Of the first ${LIP.soon} steps behind the lip the lowest rate is ${say(n.lowest)} times, the longest step ${say(n.longest)} times the plateau’s. ${back ? "The walker is thrown back onto the plateau. " : ""}${end}`;
      },
    },

    feature_scales: {
      controls: [
        choice("rule", "rule", ["SGD", "heavy ball", "AdaGrad", "Adam"].map((v) => [v, called(v)])),
        slider("size", "size S of one feature", 1, 1000, { scale: "log" }),
        slider("lr", "learning rate", 1e-6, 1, { scale: "log" }),
        button("Divide the rate by S", (s) => ({ lr: Math.max(s.lr / s.size, 1e-6) })),
      ],
      height: () => 436,
      draw(view, { rule, size }, { large, equal, weights, prediction, numbers: n }, set, data) {
        const look = data.rules[rule], a = axes(view, wide(view, 24, 140, 52), { ...log(1, 1000, 1, 10, 100, 1000), label: "size S" }, log(0.01, 1e7, 0.01, 1, 100, 1e4, 1e6), "pace over the other’s: drag the size");
        a.cursor(size);
        a.level(1);
        a.line(weights, { colour: look.colour, width: 1.5 });
        a.line(prediction, { colour: look.colour, width: 3.5 });
        a.dots([[size, n.weights]], { colour: look.colour, width: 9 });
        const b = axes(view, wide(view, 236, 140, 52), { ...log(1, TARGET.steps, 1, 10, 100, 1000), label: "step" }, log(1e-5, 1e6, 1e-4, 0.01, 1, 100, 1e4), "loss, over the first");
        b.level(TARGET.loss);
        for (const [run, looks] of [[equal, { class: "reference" }], [large, { colour: look.colour }]]) {
          b.line(logarithmic(run.losses.slice(0, Math.min(run.done, TARGET.steps) + 1)), looks);
          if (run.done <= TARGET.steps) b.dots([[run.done, TARGET.loss]], { ...looks, width: 9 });
        }
        handle(view, a, [size, n.prediction], (v) => set({ size: +v.toPrecision(3) }));
        view.legend([[null, "above, thin: in weights; thick: in the prediction"], ["reference", "below, at S = 1"]]);
      },
      say({ rule, size, lr }, { numbers: n }) {
        const fits = (v) => (Number.isFinite(v) ? `is down to a ten-thousandth after ${say(v)} steps` : `is not down to a ten-thousandth in ${say(TARGET.steps)} steps`);
        const loss = Number.isFinite(n.peak) ? `The loss ${n.peak > 1 ? `rises to ${say(n.peak)} times the first` : "never exceeds the first"} and ${fits(n.done)}` : "The loss explodes";
        return `One feature ${say(size)} times as large, ${called(rule)} at the rate ${say(lr)}. In ${TARGET.paces} steps its weight moves ${say(n.weights)} times as far as the other, its share in the prediction ${say(n.prediction)} times. ${loss}; with equal units it ${fits(n.equal)}.`;
      },
    },

    poisson_bursts: {
      controls: [slider("size", "burst, times the usual count", 1, 100, { scale: "log" }), slider("memory", "Adam’s memory 1/(1 − β₂)", 20, 1000, { scale: "log", whole: true })],
      height: () => 516,
      draw(view, { size }, { counts, lanes }, set, data) {
        const { base, begin, end, steps } = BURST, early = begin - 200, near = [begin - 60, begin + 260];
        const a = axes(view, wide(view, 24, 150), { range: near, ticks: [begin, end, begin + 200], label: "step" }, { range: [0, 200], scale: "asinh", ticks: [0, 1, 10, 100] }, "counts and forecasts: drag the burst");
        a.dots(counts.slice(...near).map((y, k) => [k + near[0], y]), { class: "gradient", width: 3 });
        const time = { range: [early, steps] }, b = axes(view, wide(view, 246, 116), time, log(0.02, 1.3, 0.03, 0.1, 0.3, 1), "rate, twin = 1");
        const c = axes(view, wide(view, 392, 84), { ...time, ticks: [begin, 3000, 4000, 5000], label: "step" }, log(0.1, 30, 0.1, 1, 10), "length of 100 steps, twin = 1");
        for (const axis of [b, c]) axis.level(1);
        for (const [name, { forecast, rate, law, moved }] of Object.entries(lanes)) {
          const look = data.rules[name];
          a.line(thin(forecast.slice(...near), 400, near[0]), { ...look, width: 1.6 });
          b.line(thin(law, 400, end), { class: "thin" });
          b.line(thin(rate.slice(early), 800, early), look);
          c.line(moved.map((v, k) => [100 * k + 50, v]).slice(early / 100), look);
        }
        handle(view, a, [(begin + end) / 2, base * size], (_, v) => set({ size: +within(v / base, 1, 100).toPrecision(3) }));
        view.legend([...Object.keys(lanes).map((name) => [name, name]), [null, "thin: what the end of the burst predicts"]]);
      },
      say({ size, memory }, { numbers: n }) {
        const kept = (name) => percent(n[`${name} kept`]), each = (when) => Object.keys(WATCHED).map((name) => say(n[`${name} ${when}`], 2)).join(", ");
        return `A burst of ${say(size)} times the usual count. AdaGrad keeps ${kept("AdaGrad")} of its twin’s rate, as after ${say(+n.debt.toPrecision(2))} more quiet steps; with a clip at 5 it keeps ${kept("clipped AdaGrad")}. Adam with a memory of ${say(memory)} steps falls to ${kept("Adam")} and is back at 90 % after ${say(+n.until.toPrecision(2))} steps. In the burst the three move ${each("burst")} times as far as their twins, long after it ${each("late")} times.`;
      },
    },

    gradient_clipping: {
      controls: [slider("size", "size of the outlier", 1, 1000, { scale: "log" }), slider("clip", "clip", 1, 1000, { scale: "log" })],
      height: () => 402,
      draw(view, { size, clip }, { raw, clipped, numbers: n }, set, data) {
        const keep = (v) => +within(v, 1, 1000).toPrecision(3);
        const above = axes(view, wide(view, 24, 110), { range: [-10, 10] }, log(0.7, 1500, 1, 10, 100, 1000), "gradients: drag outlier and clip");
        for (const k of range(19, (j) => j - 9)) above.line([[k, 0.7], [k, k ? 1 : size]], { class: "gradient", width: 3 });
        above.line([[-10, clip], [10, clip]], data.rules["clipped Adam"]);
        handle(view, above, [0, size], (_, v) => set({ size: keep(v) }));
        handle(view, above, [7, clip], (_, v) => set({ clip: keep(v) }));
        const below = axes(view, wide(view, 170, 190), { range: [0, HORIZON], ticks: [0, 2000, 4000, 6000, 8000], label: "steps after the outlier" }, { range: [0, 1.05], ticks: [0, 0.5, 1] }, "Adam’s rate / rate before");
        for (const [rates, frozen, name] of [[clipped, n.frozen_clip, "clipped Adam"], [raw, n.frozen, "Adam"]]) {
          below.line(thin(rates), data.rules[name]);
          if (frozen > 0) below.dots([[frozen, 1 / 1.1]], { ...data.rules[name], width: 10 });
          below.line([[frozen, 0], [frozen, 1 / 1.1]], { class: "thin" });
        }
        view.legend([["Adam", "without the clip"], ["clipped Adam", "clip in front of Adam"]]);
      },
      say: ({ size, clip }, { numbers: n }) =>
        `An outlier of ${say(size)} lowers Adam’s rate to ${percent(n.lowest)}. ${n.frozen ? `For ${say(n.frozen)} steps it is below 1/1.1 of what it was` : "It is never below 1/1.1 of what it was"}, and ${say(n.lost)} full steps are lost. With the clip at ${say(clip)}: ${percent(n.lowest_clip)}, ${say(n.frozen_clip)} steps, ${say(n.lost_clip)} lost.`,
    },

    sparse_embeddings: {
      controls: [slider("gap", "gap T between two visits", 1, 1000, { scale: "log", whole: true })],
      height: () => 300,
      draw(view, { gap }, { steps }, set, data) {
        const end = VISITS * gap, a = axes(view, wide(view, 24, 220), { range: [0, end], ticks: range(VISITS, (k) => k * gap), label: "steps; a tick is a visit" }, log(0.8, 200, 1, 3, 10, 30, 100), "displacement, in learning rates");
        const path = (values, x = 0) => values.map((v) => (x += v)), dense = path(steps.dense);
        const stairs = (values) => path(values).flatMap((v, k) => [[k * gap, v], [(k + 1) * gap, v]]);
        svg("polygon", { class: "shade", points: dense.map((v, t) => `${a.X(t)},${a.Y(v)}`).concat(range(VISITS, (k) => VISITS - 1 - k).flatMap((k) => [(k + 1) * gap - 1, k * gap].map((t) => `${a.X(t)},${a.Y(dense[k * gap])}`))).join(" ") }, a.g);
        a.line(gap > 1 ? dense.map((v, t) => [t, v]) : stairs(steps.dense), data.rules.Adam);
        a.line(stairs(steps.shared), data.rules["lazy Adam, shared clock"]);
        a.line(stairs(steps.own), data.rules["lazy Adam"]);
        view.legend([["Adam", "dense Adam (shaded: moved at gradient zero)"], ["lazy Adam, shared clock", "lazy, clock of the table"], ["lazy Adam", "lazy, clock of the row"]]);
      },
      say: ({ gap }, { numbers: n }) =>
        `The first visit, until the next one ${say(gap)} ${gap === 1 ? "step" : "steps"} later: dense Adam ${say(n.dense)} learning rates, ${percent(n.idle)} of them at gradient zero; lazy on the table’s clock ${say(n.shared)}, on the row’s own ${say(n.own)}. After many visits dense Adam moves ${say(n.reach)}, which is ${say(n.reach / Math.sqrt(gap))} times √T.`,
    },

    adversarial_training: {
      controls: [
        choice("play", "how they play", [["once", "gradient steps, both at once"], ["turns", "gradient steps, in turns"], ["ahead", "gradient steps, looking ahead"], ["Adam", "both play Adam"]]),
        slider("x", "start: x", -2, 2, { step: 0.05, get: (s) => s.start[0], put: (v, s) => ({ start: [v, s.start[1]] }) }),
        slider("y", "start: y", -2, 2, { step: 0.05, get: (s) => s.start[1], put: (v, s) => ({ start: [s.start[0], v] }) }),
        slider("rate", "learning rate times strength, h", 0.02, 0.9, { step: 0.01, when: (s) => s.play !== "Adam" }),
        slider("memory", "memory 1/(1 − β₂) in steps", 20, 200, { step: 10, when: (s) => s.play === "Adam" }),
      ],
      height: (w) => square(w) + 16,
      draw(view, { play, start }, { path }, set, data) {
        const side = square(view.w) - 56, adam = play === "Adam", ax = { range: [-2.2, 2.2], ticks: [-2, -1, 0, 1, 2] };
        const a = axes(view, [(view.w - side) / 2, 10, side, side], { ...ax, label: adam ? "x, in radii of the circle" : "x" }, ax), left = path.findIndex((q) => Math.max(...q.map(Math.abs)) > 2.2);
        const shown = left < 0 ? path : path.slice(0, left + 1), many = shown.length > 300;
        svg("path", { class: "cursor", d: `M${a.X(0)} ${a.top}V${a.bottom}M${a.left} ${a.Y(0)}H${a.right}` }, a.g);
        if (adam) a.line(ball([1, 0, 1]), { class: "reference" });
        const look = data.rules[adam ? "Adam" : "SGD"];
        a.line(shown.filter((_, t) => !many || t % 5 === 0), { ...look, width: many ? 0.6 : 1.5 });
        if (!many) a.dots(shown, { ...look, width: 5 });
        a.dots([shown.at(-1)], { ...look, width: 12 });
        const inside = (v) => +within(v, -2, 2).toFixed(2);
        handle(view, a, start, (u, v) => set({ start: [inside(u), inside(v)] }));
      },
      say({ play, rate }, { path, numbers: n }) {
        const go = `From distance ${say(n.start)} to ${say(n.end)} in ${say(path.length - 1)} steps`;
        if (play === "Adam") return `${go} (mean over the last fifth, in radii of the predicted circle, ${say(n.circle)} learning rates): from inside or outside, they come to circle and do not settle.`;
        const why = { once: "every step multiplies the distance by √(1 + h²)", turns: "the play runs round an ellipse and keeps x² + y² − hxy", ahead: "every step multiplies the distance by √(1 − h² + h⁴)" }[play];
        return `${go}: ${why}${play === "turns" ? "" : `, here ${say(n.factor, 4)}`}. h = ${say(rate)}.`;
      },
    },

    federated_learning: {
      controls: [slider("shift", "distance δ of the noisy client’s truth", 0, 2, { step: 0.02 }), slider("noise", "its noise, times the others’", 1, 30, { scale: "log" })],
      height: () => 318,
      draw(view, { shift }, { curves, numbers: n }, set, data) {
        const a = axes(view, wide(view, 24, 238, 54), { range: [0, 2], ticks: [0, 0.5, 1, 1.5, 2], label: "distance δ" }, log(1e-3, 10, 0.001, 0.01, 0.1, 1, 10), "expected squared error");
        const looks = { equal: data.rules.FedAvg, inverse: data.rules["inverse variance"] };
        for (const [name, curve] of Object.entries(curves)) a.line(curve, { ...looks[name.split("_")[1]], width: name.startsWith("noisy") ? 3 : 1.5 });
        if (n.crossover < 2) a.line([[n.crossover, 1e-3], [n.crossover, 10]], { class: "thin" });
        a.cursor(shift);
        for (const [name] of Object.entries(curves)) a.dots([[shift, n[name]]], { ...looks[name.split("_")[1]], width: name.startsWith("noisy") ? 11 : 8 });
        handle(view, a, [shift, 1e-3], (v) => set({ shift: +v.toFixed(2) }));
        view.legend([["FedAvg", "equal weights"], ["inverse variance", "inverse variance"], [null, "thick: for the noisy client; thin: for the others"]]);
      },
      say({ shift }, { numbers: n }) {
        const verdict = !(n.crossover > 0) ? "All have the same noise, and the weights are equal." : shift <= n.crossover ? "Everyone gains." : "The noisy client pays for the others’ gain.";
        return `δ = ${say(shift)}. Inverse variance takes the error of the others from ${say(n.quiet_equal)} to ${say(n.quiet_inverse)}, that of the noisy client from ${say(n.noisy_equal)} to ${say(n.noisy_inverse)}. ${verdict} The crossover is at ${say(n.crossover)}.`;
      },
    },

    tau_leaping: {
      controls: [slider("z", "step z = cτ = αh", 0.05, 2.1, { step: 0.05 })],
      height: (w) => (w < 520 ? 470 : 280),
      draw(view, _, { clouds, law }) {
        const stacked = view.w < 520, width = stacked ? view.w - 58 : view.w / 2 - 58;
        Object.entries({ molecules: "molecules, leaping", gradients: "SGD, stepping" }).forEach(([name, title], k) => {
          const box = stacked ? [42, 24 + 226 * k, width, 166] : [42 + k * (view.w / 2), 24, width, 200];
          const a = axes(view, box, { range: [0, LEAPS], ticks: [0, 20, 40, 60], label: k || !stacked ? "steps" : "" }, { range: [-12, 12], ticks: [-10, -5, 0, 5, 10] }, title);
          a.dots(clouds[name].flatMap((run) => run.map((v, t) => [t, v]).filter(([, v]) => Math.abs(v) < 12)), { class: name, width: 2 });
          a.line(clouds[name][0].map((v, t) => [t, v]), { class: name + " one" });
          for (const sign of [-2, 2]) a.line(law.map((v, t) => [t, sign * Math.sqrt(v)]), { class: "reference" });
        });
      },
      say({ z }, { numbers: n }) {
        const two = `Variance in the second half, in units of the small-step limit: molecules ${say(n.molecules)}, SGD ${say(n.gradients)}, law ${say(n.expected)}.`;
        const refused = n.refused ? ` ${say(n.refused)} leaps would have gone below zero and were refused.` : "";
        return `z = ${say(z)}. ${two} ${z < 2 ? `At rest 1/(1 − z/2) = ${say(n.law)}.` : "From z = 2 on there is no rest."}${refused} Dashes: two standard deviations by the law.`;
      },
    },

    riemannian_metric: {
      controls: [slider("angle", "the data are turned by, degrees", 0, 90, { step: 1 }), slider("stretch", "longer axis over the shorter", 1, 6, { step: 0.5 })],
      height: (w) => (w < 520 ? 2 * square(w) - 20 : w / 2 + 8),
      draw(view, { angle, stretch }, { metrics, along }, set, data) {
        const stacked = view.w < 520, side = stacked ? square(view.w) - 60 : view.w / 2 - 56, top = 26, at = (k) => (stacked ? [(view.w - side) / 2, top + k * (side + 46)] : [40 + (k * view.w) / 2, top]);
        const box = { range: [-8, 8], ticks: [-5, 0, 5] }, a = axes(view, [...at(0), side, side], box, box, "gradients: turn them"), u = unit(angle), across = [-u[1], u[0]];
        const cloud = range(150, (k) => normals(k, 1)).map(([p, q]) => [0, 1].map((i) => p * stretch * u[i] + q * across[i]));
        a.dots(cloud.filter((p) => Math.max(...p.map(Math.abs)) < 8), { class: "gradient", width: 3 });
        const reach = Math.max(stretch * 1.1, 2);
        a.line([[0, 0], u.map((c) => c * reach)], { class: "thin" });
        handle(view, a, u.map((c) => c * reach), (p, q) => set({ angle: Math.round(within(degrees(p, q), 0, 90)) }));
        const b = axes(view, [...at(1), side, side], { range: [-2.6, 2.6], ticks: [-2, 0, 2] }, { range: [-2.6, 2.6], ticks: [-2, 0, 2] }, "unit balls");
        const looks = { second: data.rules["natural gradient"], v: data.rules.RMSProp, root: data.rules.Adam };
        for (const [name, G] of Object.entries(metrics)) {
          const area = (M) => ball(M, determinant(M) ** 0.25);
          b.line(area(along[name]), { colour: looks[name].colour, class: "faint" });
          b.line(area(G), looks[name]);
        }
        view.legend([["natural gradient", "V, the whole second moment"], ["RMSProp", "its diagonal v"], ["Adam", "√v, Adam’s"], [null, "faint: the ball at 0 degrees, turned along"]]);
      },
      say: ({ angle }, { numbers: n }) =>
        `Turned by ${say(angle)} degrees. V turns along: it measures every length as before. v measures some length wrongly by ${percent(n.defect_v)}, √v by ${percent(n.defect_root)}. ${angle === 45 ? "At 45 degrees both diagonals see equal coordinates: their balls are circles." : ""}`,
    },

    quasi_newton: {
      controls: [
        slider("next", "direction of the next secant, degrees", 0, 179, { step: 1 }),
        button("Add this secant", (s) => ({ secants: [...s.secants, s.next].slice(-8) })),
        button("Add the conjugate one", (s, data, r) => ({ secants: [...s.secants, r.conjugate].slice(-8), next: Math.round(r.conjugate) % 180 })),
        button("Remove the last", (s) => ({ secants: s.secants.slice(0, -1) })),
      ],
      height: (w) => square(w) + 6,
      draw(view, { secants, next }, { A, metrics }, set, data) {
        const side = square(view.w) - 56, ax = { range: [-1.6, 1.6], ticks: [-1, 0, 1] }, a = axes(view, [(view.w - side) / 2, 10, side, side], ax, ax);
        const arrow = (degrees, length) => [[0, 0], unit(degrees).map((c) => c * length)], look = data.rules.BFGS;
        metrics.slice(0, -1).forEach((B) => a.line(ball(B), { colour: look.colour, class: "faint" }));
        a.line(ball(metrics.at(-1)), { colour: look.colour, width: 3 });
        a.line(ball(A), { class: "reference" });
        secants.forEach((degrees) => a.line(arrow(degrees, 1), { class: "thin" }));
        a.line(arrow(next, 1.3), { class: "gradient", width: 2 });
        handle(view, a, arrow(next, 1.3)[1], (u, v) => set({ next: Math.round((degrees(u, v) + 360) % 180) % 180 }));
        view.legend([["BFGS", "the learned metric (faint: earlier)"], ["reference", "the Hessian"]]);
      },
      say({ secants }, { numbers: n }) {
        if (!secants.length) return `No secant yet: the metric is a circle, at divergence ${say(n.divergence)} from the Hessian. Turn the arrow, then add the secant along it.`;
        const old = secants.length > 1 ? ` The oldest secant is missed by ${say(n.oldest < 1e-12 ? 0 : n.oldest)} of its length: a new one keeps the old ones only if it is conjugate to them.` : "";
        return `${secants.length} ${secants.length === 1 ? "secant" : "secants"}. The newest is met exactly; the divergence from the Hessian is ${say(Math.abs(n.divergence) < 1e-12 ? 0 : n.divergence)}.${old}`;
      },
    },
  };

  function show(root, data) {
    const name = root.dataset.picture, { controls, draw, say: sentence, height } = look[name], { start, words } = data.pictures[name];
    const caption = root.querySelector("figcaption"), alt = root.dataset.alt;
    let state = structuredClone(start), result, timer = 0, holding = null;
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg"), view = { root: picture, held: [], now: () => state };
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", alt);
    const legend = element("p.legend"), panel = element("div.controls"), said = element("p.said"), status = element("p.visually-hidden", { role: "status" }), rows = element("tbody"), fields = [];

    function set(change) {
      state = structuredClone({ ...state, ...change });
      result = compute[name](state, data);
      render();
      clearTimeout(timer);
      timer = setTimeout(() => (status.textContent = said.textContent), 500);
    }

    view.legend = (entries) =>
      legend.replaceChildren(
        ...entries.map(([rule, text]) => {
          const item = element("span"), { colour, dash } = data.rules[rule] ?? {};
          if (rule) {
            const mark = svg("svg", { viewBox: "0 0 30 8", width: 30, height: 8, "aria-hidden": "true" }, item);
            svg("path", { d: "M0 4H30", class: "line " + (rule === "reference" ? "reference" : ""), style: `--lane:${colour}`, "stroke-dasharray": rule === "reference" ? undefined : dash?.join(" ") }, mark);
          }
          item.append(text);
          return item;
        }),
      );

    function render() {
      view.w = Math.max(280, Math.round(root.clientWidth));
      const h = Math.round(height(view.w));
      picture.setAttribute("viewBox", `0 0 ${view.w} ${h}`);
      view.held = [];
      picture.replaceChildren();
      draw(view, state, result, set, data);
      for (const refresh of fields) refresh();
      said.textContent = sentence(state, result);
      rows.replaceChildren(...Object.entries(words).map(([key, text]) => element("tr", {}, element("th", { scope: "row" }, text), element("td", {}, say(result.numbers[key], 4)))));
    }

    controls.forEach((c, k) => {
      const id = `picture-${name}-${k}`;
      if (c.change) return panel.append(element("button", { type: "button", onclick: () => set(c.change(state, data, result)) }, c.label));
      const label = element("label", { for: id }, c.label), row = element("div.control", {}, label);
      panel.append(row);
      if (c.options) {
        const input = element("select", { id, onchange: () => set(c.put ? c.put(input.value) : { [c.key]: input.value }) }, ...c.options.map(([value, text]) => element("option", { value }, text)));
        row.append(input);
        return fields.push(() => (input.value = state[c.key]));
      }
      const [f, inverse] = SCALES[c.scale ?? "linear"], fine = c.step ?? (f(c.high) - f(c.low)) / 200, output = element("output", { for: id });
      const input = element("input", { id, type: "range", min: f(c.low), max: f(c.high), step: c.step ?? "any" });
      const put = (at) => {
        let v = inverse(within(at, f(c.low), f(c.high)));
        v = c.whole ? Math.round(v) : Math.abs(v) < 1e-9 ? 0 : +v.toPrecision(c.step ? 6 : 3);
        set(c.put ? c.put(v, state) : { [c.key]: v });
      };
      input.addEventListener("input", () => put(+input.value));
      // a slider without steps of its own: arrows fine, pages coarse, and at least to the next whole number
      input.addEventListener("keydown", (e) => {
        const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[e.key];
        if (!by || c.step) return;
        e.preventDefault();
        const v = c.get ? c.get(state) : state[c.key], next = f(v) + by * fine;
        put(c.whole && Math.round(inverse(next)) === v ? f(v + Math.sign(by)) : next);
      });
      row.append(output, input);
      fields.push(() => {
        const v = c.get ? c.get(state) : state[c.key];
        input.value = f(v);
        output.textContent = say(v);
        input.setAttribute("aria-valuetext", say(v));
        row.hidden = c.when ? !c.when(state) : false;
      });
    });

    const at = (e) => {
      const box = picture.getBoundingClientRect(), k = view.w / box.width;
      return [(e.clientX - box.left) * k, (e.clientY - box.top) * k];
    };
    picture.addEventListener("pointerdown", (e) => {
      const distances = view.held.map((h) => h.hit(...at(e))), nearest = Math.min(...distances);
      if (!(nearest <= 24)) return;
      holding = distances.indexOf(nearest);
      picture.setPointerCapture(e.pointerId);
      e.preventDefault();
      view.held[holding].move(...at(e), false);
    });
    picture.addEventListener("pointermove", (e) => holding !== null && view.held[holding].move(...at(e), true));
    for (const end of ["pointerup", "pointercancel"]) picture.addEventListener(end, () => (holding = null));

    const reset = element("button", { type: "button", onclick: () => set(start) }, "Start again");
    panel.append(reset);
    const table = element("table", {}, element("caption.visually-hidden", {}, "The numbers of the picture"), rows);
    root.replaceChildren(picture, legend, panel, said, status, element("details", {}, element("summary", {}, "The numbers"), table), caption);
    root.classList.add("runs");
    result = compute[name](state, data);
    render();
    addEventListener("resize", render);
    return { set, state: () => structuredClone(state), numbers: () => ({ ...result.numbers }) };
  }

  function begin() {
    window.pictures = Object.fromEntries([...document.querySelectorAll("figure.picture")].map((root) => [root.dataset.picture, show(root, globalThis.picturesData)]));
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
