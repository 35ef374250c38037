"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (id) => document.getElementById(id);
  const names = data.aus.map((au) => au.name);
  const count = names.length;
  const COLOURS = ["#56b4e9", "#f0e442", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#ffffff"];
  // Matplotlib's cividis at equal steps: in order for colour-blind people, and in grey.
  const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
  const PRESENT = "#0072b2", LIMIT = "#d55e00", INK = "#1b1f24", FAINT = "#59616b", LINE = "#333333";

  // --- Series -------------------------------------------------------------------------------------------

  const unpack = (text, Kind) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Kind(bytes.buffer);
  };
  const steps = Math.ceil(data.frames / data.together);
  const frameOf = (step) => step * data.together + 1;
  const times = data.times ? unpack(data.times, Float64Array) : Float64Array.from({ length: steps }, (_, i) => frameOf(i));
  const usual = steps > 1 ? (times[steps - 1] - times[0]) / (steps - 1) : 1;
  const WHOLE = { from: times[0], to: times[steps - 1] + (usual > 0 ? usual : 1) };
  const faces = data.faces.map((face) => {
    const low = unpack(face.low, Float32Array);
    return {
      ...face,
      low,
      high: face.high ? unpack(face.high, Float32Array) : low,
      share: face.share ? unpack(face.share, Uint8Array) : null,
      steps: low.length / count,
    };
  });

  // Scores of a face in a step: lowest, highest, share of frames with the AU present; null without a face.
  const at = (face, step, au) => {
    const i = step - face.start;
    if (i < 0 || i >= face.steps) return null;
    const low = face.low[i * count + au];
    if (Number.isNaN(low)) return null;
    const high = face.high[i * count + au];
    const share = face.share ? face.share[i * count + au] / 255 : Number(low >= data.aus[au].threshold);
    return { low, high, share };
  };
  // The last step that begins at or before a time.
  const stepAt = (time) => {
    let low = 0, high = steps;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (times[middle] <= time) low = middle; else high = middle;
    }
    return low;
  };
  const clock = (time) => {
    if (!data.timed) return `frame ${Math.round(time)}`;
    return `${time.toFixed(3)} s`;
  };

  // --- State --------------------------------------------------------------------------------------------

  const state = { face: faces.length ? longest() : -1, moment: 0, from: WHOLE.from, to: WHOLE.to, step: -1, au: 0, drag: null };

  function longest() {
    let best = 0;
    faces.forEach((face, i) => { if (face.frames > faces[best].frames) best = i; });
    return best;
  }
  const face = () => faces[state.face];
  const momentsOfFace = () => data.moments.map((one, i) => i).filter((i) => !face() || data.moments[i].face === face().id);
  const moment = () => data.moments[state.moment];
  const timeOfMoment = (one) => (data.timed ? one.time : one.frame);

  function nearest(time) {
    let best = -1;
    for (const i of momentsOfFace()) {
      if (best < 0 || Math.abs(timeOfMoment(data.moments[i]) - time) < Math.abs(timeOfMoment(data.moments[best]) - time)) best = i;
    }
    return best;
  }

  // --- Timelines ----------------------------------------------------------------------------------------

  const canvas = element("timeline");
  const ink = canvas.getContext("2d");
  const LEFT = 52, RIGHT = 10, TOP = 12, PLOT = 32, STRIP = 7, GAP = 7, AXIS = 24;
  const ROW = PLOT + STRIP + GAP;
  const size = { width: 600, height: TOP + count * ROW + AXIS };
  const inside = () => Math.max(10, size.width - LEFT - RIGHT);
  const toX = (time) => LEFT + ((time - state.from) / (state.to - state.from)) * inside();
  const toTime = (x) => state.from + ((x - LEFT) / inside()) * (state.to - state.from);

  function hatch() {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 6;
    const pen = tile.getContext("2d");
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, 6, 6);
    pen.strokeStyle = "#b9bfc7";
    pen.beginPath();
    pen.moveTo(-1, 7); pen.lineTo(7, -1);
    pen.moveTo(-1, 1); pen.lineTo(1, -1);
    pen.moveTo(5, 7); pen.lineTo(7, 5);
    pen.stroke();
    return ink.createPattern(tile, "repeat");
  }

  // What each column of pixels shows: whether a face is there, and of each AU lowest, highest and share.
  function columnsOf(who) {
    const wide = Math.floor(inside());
    const found = [];
    for (let x = 0; x < wide; x++) {
      const first = stepAt(toTime(LEFT + x));
      const last = Math.max(first, stepAt(toTime(LEFT + x + 1) - 1e-9));
      found.push([first, last]);
    }
    return found;
  }

  function draw() {
    if (!face() || steps < 2) return;
    const ratio = window.devicePixelRatio || 1;
    size.width = canvas.clientWidth || 600;
    canvas.style.height = `${size.height}px`;
    canvas.width = Math.round(size.width * ratio);
    canvas.height = Math.round(size.height * ratio);
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.fillStyle = "#ffffff";
    ink.fillRect(0, 0, size.width, size.height);
    const who = face(), gaps = hatch(), columns = columnsOf(who);
    const first = stepAt(state.from), last = stepAt(state.to);
    const sparse = last - first < 1.5 * inside();
    ink.font = "12px system-ui, sans-serif";
    for (let au = 0; au < count; au++) {
      const top = TOP + au * ROW, bottom = top + PLOT;
      const toY = (score) => bottom - score * PLOT;
      ink.fillStyle = au === state.au && state.step >= 0 ? INK : FAINT;
      ink.textAlign = "left";
      ink.textBaseline = "middle";
      ink.fillText(names[au], 2, top + PLOT / 2);
      ink.fillStyle = "#f3f5f7";
      ink.fillRect(LEFT, top, inside(), PLOT);
      ink.save();
      ink.beginPath();
      ink.rect(LEFT, top - 2, inside(), ROW);
      ink.clip();
      // No face, and present.
      let open = -1;
      columns.forEach(([from, to], x) => {
        let share = 0, seen = false;
        for (let step = from; step <= to; step++) {
          const here = at(who, step, au);
          if (here) { seen = true; share = Math.max(share, here.share); }
        }
        if (seen && share > 0) {
          ink.fillStyle = PRESENT;
          ink.fillRect(LEFT + x, bottom + 1 + STRIP * (1 - share), 1, STRIP * share);
        }
        if (!seen && open < 0) open = x;
        if (open >= 0 && (seen || x === columns.length - 1)) {
          ink.fillStyle = gaps;
          ink.fillRect(LEFT + open, top, (seen ? x : x + 1) - open, PLOT + 1 + STRIP);
          open = -1;
        }
      });
      ink.strokeStyle = LIMIT;
      ink.setLineDash([5, 4]);
      ink.lineWidth = 1;
      ink.beginPath();
      const limit = Math.round(toY(data.aus[au].threshold)) + 0.5;
      ink.moveTo(LEFT, limit);
      ink.lineTo(LEFT + inside(), limit);
      ink.stroke();
      ink.setLineDash([]);
      ink.strokeStyle = LINE;
      ink.lineWidth = 1.3;
      ink.beginPath();
      if (sparse) {
        let drawing = false;
        for (let step = Math.max(0, first - 1); step <= Math.min(steps - 1, last + 1); step++) {
          const here = at(who, step, au);
          if (!here) { drawing = false; continue; }
          const x = toX(times[step]);
          if (drawing) ink.lineTo(x, toY(here.high));
          else ink.moveTo(x, toY(here.high));
          if (here.low !== here.high) ink.lineTo(x, toY(here.low));
          // The last frame before a gap is shown until the next one is.
          if (!at(who, step + 1, au)) ink.lineTo(toX(step + 1 < steps ? times[step + 1] : WHOLE.to), toY(here.low));
          drawing = true;
        }
      } else {
        let before = null;
        columns.forEach(([from, to], x) => {
          let low = Infinity, high = -Infinity;
          for (let step = from; step <= to; step++) {
            const here = at(who, step, au);
            if (here) { low = Math.min(low, here.low); high = Math.max(high, here.high); }
          }
          if (high < low) { before = null; return; }
          if (before !== null) { ink.lineTo(LEFT + x + 0.5, toY(before > high ? high : low)); }
          ink.moveTo(LEFT + x + 0.5, toY(low) + 0.5);
          ink.lineTo(LEFT + x + 0.5, toY(high) - 0.5);
          before = (low + high) / 2;
        });
      }
      ink.stroke();
      ink.restore();
    }
    drawAxis();
    drawMarks();
  }

  function drawAxis() {
    const y = TOP + count * ROW;
    ink.strokeStyle = INK;
    ink.fillStyle = INK;
    ink.lineWidth = 1;
    ink.textBaseline = "top";
    ink.textAlign = "center";
    const span = state.to - state.from;
    const rough = span / Math.max(2, inside() / 90);
    const power = 10 ** Math.floor(Math.log10(rough));
    let step = power * [1, 2, 5, 10].find((f) => f * power >= rough);
    if (!data.timed) step = Math.max(1, Math.round(step));
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    ink.beginPath();
    ink.moveTo(LEFT, y + 0.5);
    ink.lineTo(LEFT + inside(), y + 0.5);
    const unit = data.timed ? " s" : "";
    for (let i = Math.ceil(state.from / step - 1e-9); i * step <= state.to + 1e-9; i++) {
      const x = Math.round(toX(i * step)) + 0.5;
      ink.moveTo(x, y);
      ink.lineTo(x, y + 4);
      const text = `${(i * step).toFixed(digits)}${unit}`;
      const half = ink.measureText(text).width / 2;
      if (x - half >= LEFT - 14 && x + half <= size.width) ink.fillText(text, x, y + 7);
    }
    ink.stroke();
  }

  function drawMarks() {
    const bottom = TOP + count * ROW;
    ink.fillStyle = LIMIT;
    for (const i of momentsOfFace()) {
      const x = toX(timeOfMoment(data.moments[i]));
      if (x < LEFT - 1 || x > LEFT + inside() + 1) continue;
      const wide = i === state.moment ? 5 : 3;
      ink.beginPath();
      ink.moveTo(x - wide, TOP - 10);
      ink.lineTo(x + wide, TOP - 10);
      ink.lineTo(x, TOP - 2);
      ink.fill();
    }
    const line = (x, colour, wide) => {
      if (x < LEFT || x > LEFT + inside()) return;
      ink.strokeStyle = colour;
      ink.lineWidth = wide;
      ink.beginPath();
      ink.moveTo(x, TOP - 2);
      ink.lineTo(x, bottom);
      ink.stroke();
    };
    if (moment().face === face().id) line(toX(timeOfMoment(moment())), LIMIT, 2);
    if (state.step >= 0) line(toX(times[state.step]), INK, 1);
    if (state.drag && state.drag.moved) {
      ink.fillStyle = "rgba(0, 114, 178, 0.2)";
      ink.fillRect(Math.min(state.drag.x, state.drag.now), TOP, Math.abs(state.drag.now - state.drag.x), bottom - TOP);
    }
  }

  // --- Moving about -------------------------------------------------------------------------------------

  function show(from, to) {
    const whole = WHOLE.to - WHOLE.from;
    const least = Math.min(whole, (3 * whole) / steps);
    let span = Math.min(whole, Math.max(least, to - from));
    const middle = (from + to) / 2;
    let begin = Math.min(Math.max(WHOLE.from, middle - span / 2), WHOLE.to - span);
    state.from = begin;
    state.to = begin + span;
    draw();
  }
  function zoom(factor, around) {
    const from = around - (around - state.from) * factor;
    show(from, from + (state.to - state.from) * factor);
  }
  function move(share) {
    const shift = share * (state.to - state.from);
    const by = Math.min(Math.max(shift, WHOLE.from - state.from), WHOLE.to - state.to);
    show(state.from + by, state.to + by);
  }

  function say(step, au, x, y) {
    state.step = step;
    state.au = au;
    const here = at(face(), step, au);
    const frames = data.together > 1 ? `frames ${frameOf(step)} to ${Math.min(data.frames, frameOf(step + 1) - 1)}` : `frame ${frameOf(step)}`;
    const limit = `threshold ${data.aus[au].threshold.toFixed(2)}`;
    let value = "no face";
    if (here) {
      const score = here.low === here.high ? here.low.toFixed(3) : `${here.low.toFixed(3)} to ${here.high.toFixed(3)}`;
      const on = here.share >= 1 ? "present" : here.share > 0 ? `present in ${Math.round(100 * here.share)} %` : "absent";
      value = `${score} (${limit}), ${on}`;
    }
    const when = data.timed ? `${frames}, ${times[step].toFixed(3)} s` : frames;
    element("reading").textContent = `${names[au]} ${data.aus[au].title}: ${value}; ${when}`;
    const tip = element("tip");
    if (x === undefined) { tip.hidden = true; return; }
    tip.textContent = `${names[au]} ${value}\n${when}`;
    tip.hidden = false;
    tip.style.left = `${Math.max(0, Math.min(x + 14, size.width - tip.offsetWidth))}px`;
    tip.style.top = `${y + 16}px`;
  }
  const clampStep = (step) => Math.min(steps - 1, Math.max(0, step));
  const rowAt = (y) => Math.min(count - 1, Math.max(0, Math.floor((y - TOP) / ROW)));
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 30 : 1;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      move(((event.deltaX || event.deltaY) * unit) / 800);
    } else {
      zoom(Math.exp(event.deltaY * unit * 0.002), toTime(place(event)[0]));
    }
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const [x] = place(event);
    state.drag = { x, now: x, moved: false };
    try { canvas.setPointerCapture(event.pointerId); } catch { /* A pointer that is gone already. */ }
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    if (state.drag) {
      state.drag.now = Math.min(Math.max(x, LEFT), LEFT + inside());
      if (Math.abs(x - state.drag.x) > 4) state.drag.moved = true;
    }
    say(stepAt(Math.min(Math.max(toTime(x), state.from), state.to)), rowAt(y), x, y);
    draw();
  });
  canvas.addEventListener("pointerup", () => {
    const drag = state.drag;
    state.drag = null;
    if (!drag) return;
    if (drag.moved) {
      const from = toTime(Math.max(LEFT, Math.min(drag.x, drag.now)));
      show(from, toTime(Math.max(drag.x, drag.now)));
    } else {
      choose(nearest(toTime(drag.x)));
    }
  });
  canvas.addEventListener("pointercancel", () => { state.drag = null; draw(); });
  canvas.addEventListener("pointerleave", () => {
    if (state.drag) return;
    element("tip").hidden = true;
    state.step = -1;
    draw();
  });
  canvas.addEventListener("dblclick", () => show(WHOLE.from, WHOLE.to));
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const start = state.step < 0 ? stepAt(Math.max(state.from, timeOfMoment(moment()))) : state.step;
    const by = event.shiftKey ? 10 : 1;
    const go = (step, au) => {
      say(clampStep(step), Math.min(count - 1, Math.max(0, au)));
      const time = times[state.step];
      if (time < state.from || time > state.to) show(time - (state.to - state.from) / 2, time + (state.to - state.from) / 2);
      else draw();
    };
    const keys = {
      ArrowLeft: () => go(start - by, state.au),
      ArrowRight: () => go(start + by, state.au),
      ArrowUp: () => go(start, state.au - 1),
      ArrowDown: () => go(start, state.au + 1),
      "+": () => zoom(0.5, times[start]),
      "=": () => zoom(0.5, times[start]),
      "-": () => zoom(2, times[start]),
      Home: () => show(WHOLE.from, WHOLE.to),
      "0": () => show(WHOLE.from, WHOLE.to),
      PageUp: () => move(-0.8),
      PageDown: () => move(0.8),
      Enter: () => choose(nearest(times[start])),
      " ": () => choose(nearest(times[start])),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  element("zoom-in").addEventListener("click", () => zoom(0.5, (state.from + state.to) / 2));
  element("zoom-out").addEventListener("click", () => zoom(2, (state.from + state.to) / 2));
  element("zoom-all").addEventListener("click", () => show(WHOLE.from, WHOLE.to));

  // --- Key frames ---------------------------------------------------------------------------------------

  const text = (value) => String(value).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

  function choose(index) {
    if (index < 0) return;
    state.moment = index;
    showMoment();
    draw();
  }

  function showMoment() {
    const one = moment(), picture = data.pictures[one.frame];
    const when = data.timed && data.frames > 1 ? `frame ${one.frame}, ${one.time.toFixed(3)} s` : `frame ${one.frame}`;
    element("picture").src = picture.src;
    const seen = picture.boxes.length;
    element("picture").alt = `The recording in ${when}, with ${seen === 1 ? "one face" : `${seen} faces`}`;
    const { width, height } = picture;
    const boxes = element("boxes");
    boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
    // In proportion to the picture, whatever its size on the screen.
    const unit = width / 480, letters = 12.5 * unit;
    boxes.innerHTML = [...picture.boxes].sort((a, b) => (a.face === one.face) - (b.face === one.face)).map(({ face: id, box }) => {
      const [x0, y0, x1, y1] = [box[0] * width, box[1] * height, box[2] * width, box[3] * height];
      const chosen = id === one.face;
      const colour = chosen ? LIMIT : "#ffffff";
      const label = chosen || x1 - x0 > letters * 3.4 ? `face ${id}` : `${id}`;
      const wide = letters * (0.62 * label.length + 0.5), high = letters * 1.35;
      const x = Math.min(Math.max(0, x0), width - wide), y = y0 >= high ? y0 - high : Math.max(0, y0);
      return `<rect x="${x0}" y="${y0}" width="${x1 - x0}" height="${y1 - y0}" fill="none" stroke="#000" stroke-width="${(chosen ? 4.5 : 3.2) * unit}"/>` +
        `<rect x="${x0}" y="${y0}" width="${x1 - x0}" height="${y1 - y0}" fill="none" stroke="${colour}" stroke-width="${(chosen ? 2.6 : 1.4) * unit}"/>` +
        `<rect x="${x}" y="${y}" width="${wide}" height="${high}" fill="${colour}" stroke="#000" stroke-width="${0.7 * unit}"/>` +
        `<text x="${x + wide / 2}" y="${y + high * 0.74}" text-anchor="middle" font-size="${letters}" font-family="system-ui, sans-serif" font-weight="${chosen ? 700 : 400}" fill="${chosen ? "#fff" : "#000"}">${label}</text>`;
    }).join("");
    const strongest = one.strongest.length && data.frames > 1 ? `; strongest moment of ${one.strongest.join(", ")}` : "";
    const sure = one.confidence === null || one.confidence === undefined ? "" : `, detector ${one.confidence.toFixed(2)}`;
    element("caption").textContent = one.face === null ? `${when}: no face` : `${when}: face ${one.face}${sure}${strongest}`;
    element("closer").hidden = one.face === null;
    if (one.face !== null) {
      element("crop").src = one.crop;
      const on = names.filter((_, i) => one.present[i]);
      element("crop").alt = `Aligned face ${one.face} in ${when}; present: ${on.join(", ") || "none"}`;
      element("scores").innerHTML = '<caption class="hidden">Scores in this key frame</caption><tbody>' + names.map((name, i) => {
        const present = one.present[i], score = one.scores[i];
        return `<tr title="${text(data.aus[i].title)}"><th scope="row">${text(name)}</th><td class="meter"><div><i class="${present ? "on" : ""}" style="width:${100 * score}%"></i><b style="left:${100 * data.aus[i].threshold}%"></b></div></td>` +
          `<td>${score.toFixed(2)}</td><td class="${present ? "on" : "off"}">${present ? "present" : "absent"}</td></tr>`;
      }).join("") + "</tbody>";
    }
    for (const button of element("strip").children) {
      const pressed = Number(button.dataset.moment) === state.moment;
      button.setAttribute("aria-pressed", String(pressed));
      if (pressed) {
        // Within the strip alone; the page stays where it is.
        const strip = element("strip");
        if (button.offsetTop < strip.scrollTop + strip.offsetTop) strip.scrollTop = button.offsetTop - strip.offsetTop;
        const below = button.offsetTop + button.offsetHeight - strip.offsetTop - strip.clientHeight;
        if (below > strip.scrollTop) strip.scrollTop = below;
      }
    }
    showWeights();
    showGraph();
  }

  function showStrip() {
    const strip = element("strip");
    strip.textContent = "";
    const listed = momentsOfFace();
    strip.hidden = listed.length < 2;
    for (const i of listed) {
      const one = data.moments[i], button = document.createElement("button");
      button.type = "button";
      button.dataset.moment = i;
      const image = document.createElement("img");
      image.src = one.crop || data.pictures[one.frame].src;
      image.alt = "";
      const when = data.timed ? `${one.time.toFixed(2)} s` : `frame ${one.frame}`;
      button.append(image, when, document.createElement("br"), data.frames > 1 ? one.strongest.join(" ") : "");
      button.setAttribute("aria-label", `key frame ${one.frame}, ${when}${one.strongest.length ? `, strongest moment of ${one.strongest.join(", ")}` : ""}`);
      button.addEventListener("click", () => choose(i));
      strip.append(button);
    }
  }
  function along(by) {
    const listed = momentsOfFace(), now = listed.indexOf(state.moment);
    choose(listed[Math.min(listed.length - 1, Math.max(0, now + by))]);
  }
  element("previous").addEventListener("click", () => along(-1));
  element("next").addEventListener("click", () => along(1));

  // --- What the model looked at -------------------------------------------------------------------------

  function cividis(share) {
    const x = Math.min(1, Math.max(0, share)) * (CIVIDIS.length - 1);
    const i = Math.min(CIVIDIS.length - 2, Math.floor(x)), part = x - i;
    const mix = [1, 3, 5].map((k) => {
      const [a, b] = [CIVIDIS[i], CIVIDIS[i + 1]].map((colour) => parseInt(colour.slice(k, k + 2), 16));
      return Math.round(a + (b - a) * part);
    });
    return `rgb(${mix.join(",")})`;
  }
  const highest = (() => {
    let high = 0;
    for (const one of data.moments) for (const map of one.weights || []) for (const row of map) for (const value of row) high = Math.max(high, value);
    return Math.max(0.05, Math.ceil(high / 0.05 - 1e-9) * 0.05);
  })();

  function showWeights() {
    const one = moment(), maps = element("maps");
    if (data.absent.weights || !one.weights) {
      maps.textContent = "";
      element("weights-text").textContent = data.absent.weights ? `Not shown: ${data.absent.weights}.` : "Not shown: there is no face.";
      return;
    }
    element("weights-text").textContent = "How much each spatial scale of the dynamics counts at each place of the face, in the key frame above; at every place the weights of all scales sum to 1. Scale 1 is the finest.";
    const made = one.weights.map((map, s) => {
      const rows = map.length, cells = map[0].length, edge = 210;
      const flat = map.flat(), mean = flat.reduce((a, b) => a + b, 0) / flat.length;
      const scale = `scale ${data.scales[s]}`;
      const squares = map.map((row, y) => row.map((value, x) =>
        `<rect x="${(x * edge) / cells}" y="${(y * edge) / rows}" width="${edge / cells}" height="${edge / rows}" fill="${cividis(value / highest)}"><title>${value.toFixed(3)}</title></rect>`).join("")).join("");
      return `<figure><svg viewBox="0 0 ${edge} ${edge}" role="img" aria-label="Weights of ${scale} over the face: mean ${mean.toFixed(2)}, from ${Math.min(...flat).toFixed(2)} to ${Math.max(...flat).toFixed(2)}">` +
        `<image href="${one.crop}" width="${edge}" height="${edge}" style="filter:grayscale(1)"/><g opacity="0.68" shape-rendering="crispEdges">${squares}</g></svg>` +
        `<figcaption>${scale}: mean ${mean.toFixed(2)}<br>${Math.min(...flat).toFixed(2)} to ${Math.max(...flat).toFixed(2)}</figcaption></figure>`;
    });
    const equal = 1 / one.weights.length, wide = 460;
    const ticks = [0, highest / 2, highest].map((value, i) =>
      `<text x="${6 + (value / highest) * (wide - 12)}" y="34" text-anchor="${["start", "middle", "end"][i]}" font-size="12" fill="${INK}">${value.toFixed(2)}</text>`).join("");
    const stops = CIVIDIS.map((colour, i) => `<stop offset="${i / (CIVIDIS.length - 1)}" stop-color="${colour}"/>`).join("");
    const x = 6 + (equal / highest) * (wide - 12);
    made.push(`<svg class="scale" viewBox="0 0 ${wide} 52" role="img" aria-label="Colours from 0 to ${highest.toFixed(2)}; equal weights are ${equal.toFixed(2)}">` +
      `<defs><linearGradient id="colours">${stops}</linearGradient></defs><rect x="6" y="6" width="${wide - 12}" height="14" fill="url(#colours)"/>` +
      (equal <= highest ? `<path d="M${x} 3V23" stroke="#fff" stroke-width="4"/><path d="M${x} 3V23" stroke="${LIMIT}" stroke-width="2"/>` : "") +
      `${ticks}<text x="6" y="49" font-size="12" fill="${FAINT}">weight of the scale; mark: ${equal.toFixed(2)}, where all count the same</text></svg>`);
    maps.innerHTML = made.join("");
  }

  function showGraph() {
    const one = moment(), lost = data.absent.graph || (one.attention ? "" : "there is no face");
    element("graph-parts").hidden = Boolean(lost);
    if (lost) {
      element("graph-text").textContent = `Not shown: ${lost}.`;
      return;
    }
    const { places, group, bands } = data.graph;
    const edges = [];
    let within = 0;
    one.attention.forEach((row, receiver) => row.forEach((weight, sender) => {
      if (weight <= 0 || receiver === sender) return;
      if (group[receiver] === group[sender]) within += 1;
      else edges.push({ receiver, sender, weight });
    }));
    edges.sort((a, b) => a.weight - b.weight);
    const low = edges.length ? edges[0].weight : 0, high = edges.length ? edges[edges.length - 1].weight : 1;
    const share = (weight) => (high > low ? (weight - low) / (high - low) : 1);
    const at400 = places.map(([x, y]) => [x * 400, y * 400]);
    const taken = at400.map((p) => [...p]);
    let arcs = "", numbers = "";
    const arc = ({ receiver, sender, weight }) => {
      const [a, b] = [at400[sender], at400[receiver]];
      const [dx, dy] = [b[0] - a[0], b[1] - a[1]], length = Math.hypot(dx, dy) || 1;
      const bend = [(a[0] + b[0]) / 2 + 0.18 * dy, (a[1] + b[1]) / 2 - 0.18 * dx];
      const wide = 0.8 + 4 * share(weight);
      const point = (t) => [0, 1].map((k) => (1 - t) ** 2 * a[k] + 2 * t * (1 - t) * bend[k] + t * t * b[k]);
      const [t0, t1] = [Math.min(0.4, 14 / length), Math.max(0.6, 1 - (16 + 1.5 * wide) / length)];
      const line = [];
      for (let i = 0; i <= 16; i++) line.push(point(t0 + ((t1 - t0) * i) / 16));
      const [p, q] = [line[15], line[16]], turn = Math.atan2(q[1] - p[1], q[0] - p[0]), long = 5 + 1.7 * wide;
      const head = [[long, 0], [0, long * 0.42], [0, -long * 0.42]].map(([x, y]) =>
        `${(q[0] + x * Math.cos(turn) - y * Math.sin(turn)).toFixed(1)},${(q[1] + x * Math.sin(turn) + y * Math.cos(turn)).toFixed(1)}`).join(" ");
      return { path: `M${line.map((c) => c.map((v) => v.toFixed(1)).join(" ")).join("L")}`, head, wide, point };
    };
    edges.forEach((edge, i) => {
      const { path, head, wide, point } = arc(edge), colour = cividis(share(edge.weight));
      arcs += `<g class="edge"><title>${text(names[edge.sender])} to ${text(names[edge.receiver])}: ${edge.weight.toFixed(3)}</title><path d="${path}" fill="none" stroke="#000" stroke-width="${wide + 1.4}"/><path d="${path}" fill="none" stroke="${colour}" stroke-width="${wide}"/>` +
        `<polygon points="${head}" fill="${colour}" stroke="#000" stroke-width="0.7"/></g>`;
      if (i < edges.length - 10) return;
      // Numbers of the strongest, clear of nodes and of each other.
      let best = null, room = -1;
      for (const t of [0.5, 0.42, 0.58, 0.35, 0.65, 0.28, 0.72]) {
        const p = point(t), here = Math.min(...taken.map((o) => Math.max(Math.abs(o[0] - p[0]) / 24, Math.abs(o[1] - p[1]) / 15)));
        if (here > room) { best = p; room = here; }
        if (here >= 1) break;
      }
      if (room < 0.6) return;
      taken.push(best);
      numbers += `<text x="${best[0].toFixed(1)}" y="${(best[1] + 3.5).toFixed(1)}" text-anchor="middle" font-size="10.5" fill="#fff" stroke="#000" stroke-width="2.4" paint-order="stroke">${edge.weight.toFixed(2)}</text>`;
    });
    const nodes = at400.map(([x, y], i) => {
      const on = one.present[i], fill = on ? "#ffffff" : "#40454c", band = bands[group[i]];
      const shape = band === "upper" ? `<polygon points="${x},${y - 15} ${x + 14.5},${y + 10} ${x - 14.5},${y + 10}"`
        : band === "middle" ? `<polygon points="${x},${y - 14} ${x + 14},${y} ${x},${y + 14} ${x - 14},${y}"` : `<circle cx="${x}" cy="${y}" r="11.5"`;
      return `<g><title>${text(names[i])} ${text(data.aus[i].title)}: ${one.scores[i].toFixed(2)}, ${on ? "present" : "absent"}</title>${shape} fill="${fill}" stroke="#000" stroke-width="1.3"/>` +
        `<text x="${x}" y="${y + (band === "upper" ? 6 : 3.8)}" text-anchor="middle" font-size="10.5" font-weight="700" font-family="system-ui, sans-serif" fill="${on ? "#000" : "#fff"}">${text(names[i].replace("AU", ""))}</text></g>`;
    }).join("");
    const svg = element("network");
    svg.innerHTML = `<image href="${one.crop}" width="400" height="400" opacity="0.75" style="filter:grayscale(1)"/>${arcs}${nodes}${numbers}`;
    svg.setAttribute("aria-label", `${edges.length} edges between regions of the face; the strongest: ` +
      (edges.slice(-3).reverse().map((e) => `${names[e.sender]} to ${names[e.receiver]} ${e.weight.toFixed(2)}`).join(", ") || "none"));
    const hidden = (within ? ` ${within} edges inside regions are in the table only.` : "") +
      (data.graph.activated ? " Edges start at AUs that the region classifiers take for active, which need not be those present in the end." : "");
    element("graph-text").textContent = (edges.length
      ? `${edges.length} edges between regions of the face in the key frame above, wider and lighter with the weight with which an AU (arrow's head) receives from another; numbers: the strongest.${hidden} `
      : `There is no edge between regions of the face in this key frame.${hidden} `) +
      "White: present, dark: absent; triangles: upper face, diamonds: middle, discs: lower.";
    const order = bands.flatMap((_, g) => names.map((_, i) => i).filter((i) => group[i] === g));
    element("attention").innerHTML = '<caption class="hidden">Attention weights; rows receive, columns send</caption><thead><tr><th scope="col">receives \\ sends</th>' +
      order.map((i) => `<th scope="col">${text(names[i])}</th>`).join("") + "</tr></thead><tbody>" +
      order.map((i) => `<tr><th scope="row">${text(names[i])}</th>` + order.map((j) => {
        const weight = one.attention[i][j];
        return weight > 0 ? `<td>${weight < 0.005 ? "&lt;.01" : weight.toFixed(2)}</td>` : '<td class="none">&middot;</td>';
      }).join("") + "</tr>").join("") + "</tbody>";
  }

  // --- Start --------------------------------------------------------------------------------------------

  const select = element("face");
  faces.forEach((one, i) => {
    const option = document.createElement("option");
    option.value = i;
    option.textContent = data.frames > 1 ? `face ${one.id} (frames ${one.first} to ${one.last})` : `face ${one.id}`;
    select.append(option);
  });
  function chooseFace(index) {
    state.face = index;
    state.step = -1;
    select.value = String(index);
    canvas.setAttribute("aria-label", `Scores of ${count} action units of face ${face().id} over time`);
    showStrip();
    choose(nearest((state.from + state.to) / 2));
  }
  select.addEventListener("change", () => chooseFace(Number(select.value)));
  element("face-label").hidden = faces.length < 2;
  const still = steps < 2 || !faces.length;
  if (still) {
    element("lines").hidden = element("zooming").hidden = true;
    element("columns").classList.add("still");
  }
  if (momentsOfFace().length < 2) element("previous").parentElement.hidden = true;
  if (faces.length) chooseFace(state.face);
  else { showStrip(); showMoment(); }
  new ResizeObserver(draw).observe(canvas);
  window.addEventListener("beforeprint", draw);
  // Beside the face where there is room.
  document.querySelector("details").open = window.innerWidth > 900;
  // For tests, and for whoever likes to look.
  window.mdhrPage = { data, faces, times, state, at, show, choose, chooseFace, nearest, toX, whole: WHOLE };
})();
