"use strict";
// Draws the charts of each platform, and the kernels of the network that is chosen.
const contents = JSON.parse(document.getElementById("content").textContent);

const format = (value) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en", { maximumSignificantDigits: 4 });

function withData(spec, data) {
  const needed = JSON.stringify(spec).match(/"name":"(rows|families|kinds|parts)"/g) || [];
  const names = new Set(needed.map((text) => text.split('"')[3]));
  const rows = data.rows.map((row, position) => ({ ...row, position }));
  const known = { ...data, rows, parts: data.parts.length ? bars(data, 0) : [] };
  const datasets = Object.fromEntries([...names].map((name) => [name, known[name]]));
  return { ...spec, datasets };
}

// The panels of the scatter plot hold their rows at the top level.
function fed(name, spec, data) {
  return withData(name === "scatter" ? { ...spec, data: { name: "rows" } } : spec, data);
}

async function draw(section, content) {
  const views = {};
  for (const figure of section.querySelectorAll("figure[data-chart]")) {
    const name = figure.dataset.chart;
    const spec = fed(name, content.charts[name], content.data);
    const options = { actions: false, renderer: "svg", ast: false };
    views[name] = (await vegaEmbed(figure.querySelector(".plot"), spec, options)).view;
  }
  return views;
}

function partsOf(data, row) {
  return data.parts[row].map(([kind, shape, calls, ...times]) => ({
    label: `${kind} ${shape}${calls > 1 ? ` · ${calls} calls` : ""}`.replace(/ +/g, " ").trim(),
    times,
  }));
}

function bars(data, row) {
  return partsOf(data, row).flatMap(({ label, times }) =>
    times.map((ms, i) => ({ label, name: data.partViews[i].name, ms })).filter(({ ms }) => ms !== null));
}

function answer(data, row) {
  const network = data.rows[row];
  const told = data.views.map(({ view, name }) => `${name} ${format(network[view])} ms`);
  return `${network.network} (${network.family}): measured ${format(network.measured)} ms, ${told.join(", ")}.`;
}

function table(data, parts) {
  const element = document.createElement("table");
  const head = element.createTHead().insertRow();
  for (const text of ["kernels", ...data.partViews.map(({ name }) => `${name} ms`)]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    head.append(cell);
  }
  const body = element.createTBody();
  for (const { label, times } of parts) {
    const line = body.insertRow();
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = label;
    line.append(name);
    for (const ms of times) line.insertCell().textContent = format(ms);
  }
  return element;
}

function chooser(section, data, views) {
  const select = section.querySelector("select.network");
  if (!select) return () => {};
  return async (row) => {
    select.value = String(row);
    section.querySelector(".answer").textContent = answer(data, row);
    await views.parts.data("parts", bars(data, row)).runAsync();
    section.querySelector(".parts-table").replaceChildren(table(data, partsOf(data, row)));
  };
}

async function start(section) {
  const content = contents[Number(section.dataset.number)];
  const views = await draw(section, content);
  const choose = chooser(section, content.data, views);
  const show = async (row) => {
    await choose(row);
    const select = section.querySelector("select.network");
    if (!select) return;
    select.scrollIntoView({ block: "center" });
    select.focus({ preventScroll: true });
  };
  const select = section.querySelector("select.network");
  if (select) {
    select.addEventListener("change", () => choose(Number(select.value)));
    await choose(0);
  }
  for (const button of section.querySelectorAll("button.show"))
    button.addEventListener("click", () => show(Number(button.dataset.row)));
  if (views.scatter)
    views.scatter.addEventListener("click", (_event, item) => {
      const row = item && item.datum ? item.datum.position : undefined;
      if (row !== undefined) show(row);
    });
}

Promise.all([...document.querySelectorAll("section.platform")].map(start)).then(
  () => { document.documentElement.dataset.ready = "yes"; },
  (error) => { console.error(error); },
);
