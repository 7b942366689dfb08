// What holds for every page, whatever it says.

// Gathers console errors, script errors and requests to other hosts.
export function watched(page, url, faults) {
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`script: ${error}`));
  page.on("request", (request) => {
    const asked = request.url();
    if (!asked.startsWith(`${url}/`) && !asked.startsWith("data:")) {
      faults.push(`a request to ${asked}`);
    }
  });
}

export function expect(holds, words) {
  if (!holds) throw new Error(words);
}

// The page fits its window, at 320 pixels too.
export async function fits(page) {
  const size = page.viewportSize();
  for (const width of [320, size.width]) {
    await page.setViewportSize({ ...size, width });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(over <= 0, `${page.url()}: ${over} pixels too wide at ${width}`);
  }
}

// Every text stands out from what is behind it (WCAG 2 AA: 4.5, large text 3).
export async function contrasts(page) {
  const weak = await page.evaluate(() => {
    const parse = (text) => {
      const numbers = text.match(/[\d.]+/g).map(Number);
      return numbers.length < 4 ? [...numbers, 1] : numbers;
    };
    const light = ([red, green, blue]) => {
      const part = [red, green, blue].map((value) => {
        const share = value / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
    };
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const color = parse(getComputedStyle(at).backgroundColor);
        if (color[3] === 1) return color;
      }
      return [255, 255, 255, 1];
    };
    const found = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const element = texts.currentNode.parentElement;
      if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
      if (["STYLE", "SCRIPT", "NOSCRIPT"].includes(element.nodeName)) continue;
      const style = getComputedStyle(element);
      const [one, other] = [light(parse(style.color)), light(behind(element))];
      const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      const size = parseFloat(style.fontSize);
      const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      if (ratio < (isLarge ? 3 : 4.5)) {
        found.push(`${ratio.toFixed(2)}: ${texts.currentNode.data.trim().slice(0, 40)}`);
      }
    }
    return found;
  });
  expect(weak.length === 0, `${page.url()}: too little contrast: ${weak.join("; ")}`);
}

// One first heading, named landmarks, named buttons and fields.
export async function reads(page) {
  const wrong = await page.evaluate(() => {
    const found = [];
    if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
    if (document.querySelectorAll("main").length !== 1) found.push("not one main");
    if (!document.documentElement.lang) found.push("no language");
    if (!document.title.trim()) found.push("no title");
    for (const button of document.querySelectorAll("button, a, h1, h2, th")) {
      if (!button.textContent.trim()) found.push(`a ${button.nodeName} without a name`);
    }
    for (const field of document.querySelectorAll("input, select")) {
      if (!field.labels.length) found.push(`${field.name} without a label`);
    }
    for (const named of document.querySelectorAll("[aria-labelledby]")) {
      if (!document.getElementById(named.getAttribute("aria-labelledby"))) {
        found.push(`${named.nodeName} named by nothing`);
      }
    }
    const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
    if (new Set(ids).size !== ids.length) found.push("an id twice");
    return found;
  });
  expect(wrong.length === 0, `${page.url()}: ${wrong.join("; ")}`);
}
