// The walk alone, so that a test can run it: no page, no picture.
function walk(rule, v, noise, steps) {
  const p = Object.assign({}, rule.p, { lr: v.lr });
  const c = Math.cos(v.angle), s = Math.sin(v.angle);
  for (const [name, value] of [["beta2", v.slow], ["beta", v.slow], ["beta1", v.fast], ["momentum", v.fast]])
    if (name in p) p[name] = value;
  let x = [c + s, s - c], states = [rule.state, rule.state];
  const path = [x], rates = [];
  for (let t = 0; t < steps; t++) {
    const a = c * x[0] + s * x[1], b = v.ratio * (c * x[1] - s * x[0]);
    const g = [c * a - s * b + v.noise * noise[t][0], s * a + c * b + v.noise * noise[t][1]];
    const done = g.map((gi, i) => rule.step(states[i], gi, x[i], p));
    states = done.map((d) => d[0]);
    rates.push(done.map((d) => d[1]));
    x = x.map((xi, i) => xi - done[i][1] * done[i][2]);
    path.push(x);
  }
  return { path, rates };
}

// Draws the walk of the chosen rule; `root` is the figure, `rules` maps names to {state, p, step}, noise is (steps, 2).
function explore(root, rules, noise) {
  const steps = noise.length, round = (v) => +v.toPrecision(2);
  const select = root.querySelector("select"), inputs = [...root.querySelectorAll("input")];
  const value = {
    lr: (u) => 10 ** u, slow: (u) => 1 - 10 ** -u, fast: (u) => 1 - 10 ** -u,
    ratio: (u) => 10 ** u, angle: (u) => (u * Math.PI) / 180, noise: (u) => u,
  };
  const word = {
    lr: round, slow: (v) => (1 / (1 - v)).toFixed(0), fast: (v) => (1 / (1 - v)).toFixed(1),
    ratio: round, angle: (v) => ((v * 180) / Math.PI).toFixed(0), noise: (v) => v.toFixed(2),
  };
  const at = (z) => (150 + 90 * Math.max(-999, Math.min(999, z))).toFixed(1);
  const read = (rule) => {
    const v = {};
    for (const input of inputs) {
      v[input.name] = value[input.name](+input.value);
      input.previousElementSibling.lastElementChild.textContent = word[input.name](v[input.name]);
      input.setAttribute("aria-valuetext", word[input.name](v[input.name]));
    }
    for (const [name, parts] of [["slow", ["beta2", "beta"]], ["fast", ["beta1", "momentum"]]])
      inputs.find((input) => input.name === name).disabled = !parts.some((part) => part in rule.p);
    return v;
  };
  const drawMap = (v, path) => {
    root.querySelectorAll("ellipse").forEach((ellipse, k) => {
      const r = 30 * Math.sqrt(1 + v.ratio) * (k + 1);
      ellipse.setAttribute("rx", r);
      ellipse.setAttribute("ry", r / Math.sqrt(v.ratio));
      ellipse.setAttribute("transform", "rotate(" + (-v.angle * 180) / Math.PI + " 150 150)");
    });
    const points = path.filter((x) => x.every(Number.isFinite)).map((x) => at(x[0]) + "," + at(-x[1]));
    root.querySelector(".path").setAttribute("points", points.join(" "));
  };
  const drawRates = (rates) => {
    const logs = rates.flat().map(Math.log10).filter(Number.isFinite);
    const low = Math.min(...logs) - 0.1, high = Math.max(...logs) + 0.1;
    const y = (rate) => (270 - (240 * (Math.log10(rate) - low)) / (high - low)).toFixed(1);
    root.querySelectorAll(".rate").forEach((line, i) => {
      const points = rates.map((r, t) => [360 + (250 * t) / steps, r[i]]).filter(([, r]) => Number.isFinite(Math.log10(r)));
      line.setAttribute("points", points.map(([x, r]) => x.toFixed(1) + "," + y(r)).join(" "));
    });
    root.querySelector(".low").textContent = round(10 ** low);
    root.querySelector(".high").textContent = round(10 ** high);
  };
  const draw = () => {
    const rule = rules[select.value], v = read(rule), { path, rates } = walk(rule, v, noise, steps);
    drawMap(v, path);
    drawRates(rates);
    const c = Math.cos(v.angle), s = Math.sin(v.angle);
    const f = ([a, b]) => ((c * a + s * b) ** 2 + v.ratio * (c * b - s * a) ** 2) / 2;
    const left = f(path[steps]) / f(path[0]);
    root.querySelector("output").textContent = Number.isFinite(left)
      ? "After " + steps + " steps the loss is " + left.toPrecision(2) + " of what it was."
      : "The walk diverges.";
  };
  [select, ...inputs].forEach((control) => control.addEventListener("input", draw));
  draw();
}
