// Draws the curve and the levels of the settings that the sliders name; `root` is the figure, `data` what the page holds.
function moveCurve(root, data) {
  const inputs = [...root.querySelectorAll("input")];
  const y = (v) => +(data.y0 - data.dy * Math.log10(v / data.bottom)).toFixed(1);
  const draw = () => {
    const at = inputs.map((input) => +input.value);
    const cell = at.reduce((n, a, i) => n * data.sizes[i] + a, 0);
    const points = data.x.map((x, i) => x + "," + y(data.curves[cell][i]));
    root.querySelector(".curve").setAttribute("points", points.join(" "));
    root.querySelectorAll(".level").forEach((level, i) => {
      level.setAttribute("transform", "translate(0," + y(data.levels[i][cell]) + ")");
      level.querySelector("text").textContent = data.words[i] + " " + data.levels[i][cell].toFixed(2);
    });
    inputs.forEach((input, i) => {
      input.previousElementSibling.lastElementChild.textContent = data.labels[i][at[i]];
      input.setAttribute("aria-valuetext", data.labels[i][at[i]]);
    });
    root.querySelector("output").textContent = data.says[cell];
  };
  inputs.forEach((input) => input.addEventListener("input", draw));
  draw();
}
