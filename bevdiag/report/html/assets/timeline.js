"use strict";

// Memory over one training step. The page carries every block of memory with its first event and
// its span; bands, totals and what lies under the pointer follow from those.

(() => {
  const source = document.getElementById("timeline-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const figure = document.getElementById("timeline");
  const canvas = figure.querySelector("canvas");
  const tooltip = figure.querySelector(".tooltip");
  const detail = document.getElementById("timeline-detail");
  const legend = [...figure.querySelectorAll(".legend li")];
  const context = canvas.getContext("2d");
  const margin = { top: 26, right: 12, bottom: 8, left: 76 };
  const count = data.events;
  const bandCount = data.bands.length;

  const totals = stackedTotals();
  const reserved = expand(data.reserved);
  const blocksOf = data.bands.map(() => []);
  data.band.forEach((band, block) => blocksOf[band].push(block));

  let view = { first: 0, last: count };
  let columns = [];
  let cursor = data.peak;
  let hovered = -1;
  let drag = null;

  // stacked[band * count + event]: bytes of this band and all below it.
  function stackedTotals() {
    const stacked = new Float64Array(bandCount * count);
    data.start.forEach((start, block) => {
      const base = data.band[block] * count;
      stacked[base + start] += data.bytes[block];
      const stop = start + data.span[block];
      if (stop < count) stacked[base + stop] -= data.bytes[block];
    });
    for (let band = 0; band < bandCount; band++) {
      for (let event = 1; event < count; event++) {
        stacked[band * count + event] += stacked[band * count + event - 1];
      }
    }
    for (let band = 1; band < bandCount; band++) {
      for (let event = 0; event < count; event++) {
        stacked[band * count + event] += stacked[(band - 1) * count + event];
      }
    }
    return stacked;
  }

  function expand(runs) {
    const values = new Float64Array(count);
    runs.forEach(([first, value], index) => {
      const stop = index + 1 < runs.length ? runs[index + 1][0] : count;
      values.fill(value, first, stop);
    });
    return values;
  }

  function valueAt(runs, event) {
    let low = 0;
    let high = runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (runs[middle][0] <= event) low = middle;
      else high = middle - 1;
    }
    return runs[low][1];
  }

  const stackTop = (band, event) => (band < 0 ? 0 : totals[band * count + event]);
  const total = (event) => stackTop(bandCount - 1, event);

  function bytesText(bytes) {
    if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(2)} GiB`;
    if (bytes >= 2 ** 20) return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    if (bytes >= 2 ** 10) return `${(bytes / 2 ** 10).toFixed(1)} KiB`;
    return `${bytes} B`;
  }

  // One event stands for each pixel: the highest of those it covers, so that no peak is lost.
  function layOut() {
    const plot = plotArea();
    const perPixel = (view.last - view.first) / plot.width;
    columns = [];
    for (let x = 0; x < plot.width; x++) {
      const from = Math.floor(view.first + x * perPixel);
      const to = Math.max(from + 1, Math.floor(view.first + (x + 1) * perPixel));
      let best = Math.min(from, count - 1);
      for (let event = best + 1; event < Math.min(to, count); event++) {
        if (total(event) > total(best)) best = event;
      }
      columns.push(best);
    }
    let highest = 1;
    for (const event of columns) highest = Math.max(highest, total(event), reserved[event]);
    if (data.capacity && data.capacity < 1.5 * highest) highest = Math.max(highest, data.capacity);
    return { ...plot, highest: highest * 1.04 };
  }

  function plotArea() {
    const box = canvas.getBoundingClientRect();
    return {
      left: margin.left,
      top: margin.top,
      width: Math.max(10, Math.floor(box.width - margin.left - margin.right)),
      height: Math.max(10, Math.floor(box.height - margin.top - margin.bottom)),
    };
  }

  const styles = getComputedStyle(document.documentElement);
  const colour = (name) => styles.getPropertyValue(name).trim();
  const bandColour = (band) =>
    band < data.stateBands ? colour(`--state-${band}`) : colour(`--band-${band - data.stateBands}`);

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const box = canvas.getBoundingClientRect();
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = `12px ${colour("--sans")}`;
    const plot = layOut();
    const y = (bytes) => plot.top + plot.height * (1 - bytes / plot.highest);
    drawGrid(plot, y);
    for (let band = 0; band < bandCount; band++) {
      fillBetween(
        plot,
        bandColour(band),
        (event) => y(stackTop(band, event)),
        (event) => y(stackTop(band - 1, event)),
      );
    }
    if (hovered >= 0) drawBlock(plot, y, hovered);
    drawReserved(plot, y);
    drawCapacity(plot, y);
    drawPhases(plot);
    drawCursor(plot, y);
    if (drag && drag.now !== drag.from) {
      context.fillStyle = colour("--selection");
      const left = Math.min(drag.from, drag.now);
      context.fillRect(left, plot.top, Math.abs(drag.now - drag.from), plot.height);
    }
    updateLegend();
  }

  function fillBetween(plot, fill, upper, lower) {
    context.fillStyle = fill;
    context.beginPath();
    columns.forEach((event, x) => {
      context.lineTo(plot.left + x, upper(event));
      context.lineTo(plot.left + x + 1, upper(event));
    });
    for (let x = columns.length - 1; x >= 0; x--) {
      context.lineTo(plot.left + x + 1, lower(columns[x]));
      context.lineTo(plot.left + x, lower(columns[x]));
    }
    context.fill();
  }

  function drawGrid(plot, y) {
    const unit = 2 ** (10 * Math.floor(Math.log2(plot.highest) / 10));
    const rough = plot.highest / unit / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power * unit;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let bytes = 0; bytes < plot.highest; bytes += step) {
      context.strokeStyle = colour("--rule");
      line(plot.left, y(bytes), plot.left + plot.width, y(bytes));
      context.fillStyle = colour("--muted");
      context.fillText(bytes ? bytesText(bytes) : "0", plot.left - 8, y(bytes));
    }
  }

  function line(x0, y0, x1, y1) {
    context.beginPath();
    context.moveTo(x0, Math.round(y0) + 0.5);
    context.lineTo(x1, Math.round(y1) + 0.5);
    context.stroke();
  }

  function drawReserved(plot, y) {
    context.strokeStyle = colour("--ink");
    context.setLineDash([2, 3]);
    context.beginPath();
    columns.forEach((event, x) => {
      context.lineTo(plot.left + x, y(reserved[event]));
      context.lineTo(plot.left + x + 1, y(reserved[event]));
    });
    context.stroke();
    context.setLineDash([]);
  }

  function drawCapacity(plot, y) {
    if (!data.capacity || data.capacity > plot.highest) return;
    context.strokeStyle = colour("--bad");
    context.lineWidth = 2;
    line(plot.left, y(data.capacity), plot.left + plot.width, y(data.capacity));
    context.lineWidth = 1;
    context.fillStyle = colour("--bad");
    context.textAlign = "right";
    context.textBaseline = "bottom";
    const label = `usable ${bytesText(data.capacity)}`;
    context.fillText(label, plot.left + plot.width - 4, y(data.capacity) - 3);
  }

  function drawPhases(plot) {
    const perPixel = (view.last - view.first) / plot.width;
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    data.phases.forEach(([first, name], index) => {
      const stop = index + 1 < data.phases.length ? data.phases[index + 1][0] : count;
      const left = plot.left + Math.max(0, (first - view.first) / perPixel);
      const right = plot.left + Math.min(plot.width, (stop - view.first) / perPixel);
      if (right <= left) return;
      context.strokeStyle = colour("--muted");
      if (first > view.first) {
        context.beginPath();
        context.moveTo(Math.round(left) + 0.5, 8);
        context.lineTo(Math.round(left) + 0.5, plot.top + plot.height);
        context.stroke();
      }
      if (right - left > context.measureText(name).width + 10) {
        context.fillStyle = colour("--muted");
        context.fillText(name, left + 6, 18);
      }
    });
  }

  function drawCursor(plot, y) {
    if (cursor < view.first || cursor >= view.last) return;
    const perPixel = (view.last - view.first) / plot.width;
    const x = plot.left + Math.floor((cursor + 0.5 - view.first) / perPixel);
    context.strokeStyle = colour("--ink");
    context.beginPath();
    context.moveTo(x + 0.5, plot.top);
    context.lineTo(x + 0.5, plot.top + plot.height);
    context.stroke();
    context.fillStyle = colour("--ink");
    context.beginPath();
    context.arc(x + 0.5, y(total(cursor)), 3.5, 0, 2 * Math.PI);
    context.fill();
  }

  // Where a block lies in its band: above the older ones that are alive.
  function below(block, event) {
    const band = data.band[block];
    let bytes = stackTop(band - 1, event);
    for (const other of blocksOf[band]) {
      if (other === block) break;
      if (isAlive(other, event)) bytes += data.bytes[other];
    }
    return bytes;
  }

  const isAlive = (block, event) =>
    data.start[block] <= event && event < data.start[block] + data.span[block];

  function drawBlock(plot, y, block) {
    context.fillStyle = colour("--highlight");
    columns.forEach((event, x) => {
      if (!isAlive(block, event)) return;
      const base = below(block, event);
      const top = y(base + data.bytes[block]);
      context.fillRect(plot.left + x, top, 1, Math.max(1, y(base) - top));
    });
  }

  function blockAt(event, bytes) {
    let band = 0;
    while (band < bandCount - 1 && stackTop(band, event) <= bytes) band++;
    let base = stackTop(band - 1, event);
    for (const block of blocksOf[band]) {
      if (!isAlive(block, event)) continue;
      base += data.bytes[block];
      if (bytes < base) return block;
    }
    return -1;
  }

  function describe(block, event) {
    const [module, op, shape, dtype, purpose, phase] = data.names[data.what[block]];
    const stop = data.start[block] + data.span[block];
    const tensor = shape ? `${shape} ${dtype}` : op || purpose;
    const from = data.start[block] === 0 ? "from before the step" : `from event ${data.start[block]}`;
    const until = stop >= count ? "to the end" : `to event ${stop}`;
    return [
      [`${bytesText(data.bytes[block])} ${purpose}`, "strong"],
      [tensor, "code"],
      [module || "outside the modules", "code"],
      [`made by ${op || "-"} in ${phase}, lives ${from} ${until}`, "span"],
      [`event ${event}: ${bytesText(total(event))} allocated`, "span"],
    ];
  }

  function fillWith(element, lines) {
    element.replaceChildren(
      ...lines.map(([text, tag]) => {
        const row = document.createElement("div");
        const inner = document.createElement(tag);
        inner.textContent = text;
        row.append(inner);
        return row;
      }),
    );
  }

  function describeCursor() {
    const module = valueAt(data.modules, cursor);
    const text =
      `Event ${cursor} of ${count}, ${valueAt(data.phases, cursor)}` +
      `${module ? `, in ${module}` : ""}: ${bytesText(total(cursor))} allocated, ` +
      `${bytesText(reserved[cursor])} reserved${cursor === data.peak ? " (the peak)" : ""}`;
    detail.textContent = text;
  }

  function updateLegend() {
    legend.forEach((item, band) => {
      const bytes = stackTop(band, cursor) - stackTop(band - 1, cursor);
      item.querySelector(".amount").textContent = bytesText(bytes);
    });
    describeCursor();
  }

  function point(pointer) {
    const box = canvas.getBoundingClientRect();
    const plot = layOut();
    const x = pointer.clientX - box.left;
    const column = Math.min(columns.length - 1, Math.max(0, Math.floor(x - plot.left)));
    const height = pointer.clientY - box.top - plot.top;
    const bytes = plot.highest * (1 - height / plot.height);
    return { x: plot.left + column, event: columns[column], bytes, box };
  }

  function hover(pointer) {
    const at = point(pointer);
    cursor = at.event;
    hovered = at.bytes >= 0 && at.bytes < total(at.event) ? blockAt(at.event, at.bytes) : -1;
    if (hovered < 0) {
      tooltip.hidden = true;
    } else {
      fillWith(tooltip, describe(hovered, at.event));
      tooltip.hidden = false;
      const left = Math.min(at.x + 14, at.box.width - tooltip.offsetWidth - 4);
      tooltip.style.left = `${Math.max(4, left)}px`;
      tooltip.style.top = `${Math.max(4, pointer.clientY - at.box.top - tooltip.offsetHeight - 10)}px`;
    }
    draw();
  }

  function zoomTo(first, last) {
    const least = Math.min(count, 10);
    const width = Math.min(count, Math.max(least, last - first));
    const start = Math.min(Math.max(0, first), count - width);
    view = { first: start, last: start + width };
    draw();
  }

  function zoomBy(factor, centre) {
    const share = (centre - view.first) / (view.last - view.first);
    const width = (view.last - view.first) * factor;
    zoomTo(centre - share * width, centre + (1 - share) * width);
  }

  function moveCursor(events) {
    cursor = Math.min(count - 1, Math.max(0, cursor + events));
    if (cursor < view.first) zoomTo(cursor, cursor + view.last - view.first);
    else if (cursor >= view.last) zoomTo(cursor + 1 - (view.last - view.first), cursor + 1);
    else draw();
  }

  canvas.addEventListener("pointerdown", (pointer) => {
    const box = canvas.getBoundingClientRect();
    drag = { from: pointer.clientX - box.left, now: pointer.clientX - box.left };
    canvas.setPointerCapture(pointer.pointerId);
  });
  canvas.addEventListener("pointermove", (pointer) => {
    if (drag) drag.now = pointer.clientX - canvas.getBoundingClientRect().left;
    hover(pointer);
  });
  canvas.addEventListener("pointerup", () => {
    if (drag && Math.abs(drag.now - drag.from) > 6) {
      const plot = plotArea();
      const perPixel = (view.last - view.first) / plot.width;
      const [left, right] = [drag.from, drag.now].sort((a, b) => a - b);
      const base = view.first;
      drag = null;
      zoomTo(base + (left - plot.left) * perPixel, base + (right - plot.left) * perPixel);
    }
    drag = null;
  });
  canvas.addEventListener("pointerleave", () => {
    hovered = -1;
    tooltip.hidden = true;
    draw();
  });
  canvas.addEventListener("dblclick", () => zoomTo(0, count));
  canvas.addEventListener(
    "wheel",
    (wheel) => {
      // A bare wheel scrolls the page, as everywhere else.
      if (!wheel.ctrlKey && !wheel.metaKey) return;
      wheel.preventDefault();
      zoomBy(wheel.deltaY > 0 ? 1.25 : 0.8, point(wheel).event);
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (key) => {
    const stride = Math.max(1, Math.round((view.last - view.first) / 100));
    const actions = {
      ArrowLeft: () => moveCursor(key.shiftKey ? -1 : -stride),
      ArrowRight: () => moveCursor(key.shiftKey ? 1 : stride),
      Home: () => moveCursor(data.peak - cursor),
      "+": () => zoomBy(0.6, cursor),
      "=": () => zoomBy(0.6, cursor),
      "-": () => zoomBy(1 / 0.6, cursor),
      0: () => zoomTo(0, count),
      Escape: () => zoomTo(0, count),
    };
    const action = actions[key.key];
    if (!action) return;
    key.preventDefault();
    action();
  });
  figure.querySelector("[data-zoom=in]").addEventListener("click", () => zoomBy(0.6, cursor));
  figure.querySelector("[data-zoom=out]").addEventListener("click", () => zoomBy(1 / 0.6, cursor));
  figure.querySelector("[data-zoom=all]").addEventListener("click", () => zoomTo(0, count));

  new ResizeObserver(draw).observe(canvas);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
