// Plays one scenario in Chromium: node browser.mjs <scenario> <chromium> <JSON>.
// Every scenario fails on a console error, a script's error or a request to another host.
import { chromium } from "playwright-core";
import * as scenarios from "./browser_scenarios.mjs";
import { watched } from "./browser_checks.mjs";

const [, , name, executablePath, json] = process.argv;
const told = JSON.parse(json);
const browser = await chromium.launch({
  executablePath,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});

// Says what happens next to the agent.
async function control(words) {
  const answer = await fetch(`${told.control}/${words}`, { method: "POST" });
  if (!answer.ok) throw new Error(`${words}: ${answer.status}`);
  return Date.now();
}

const faults = [];
async function open(options = {}) {
  const context = await browser.newContext({ timezoneId: "Asia/Tokyo", ...options });
  context.setDefaultTimeout(60000);
  const page = await context.newPage();
  watched(page, told.url, faults);
  return page;
}

try {
  await scenarios[name]({ told, control, open, faults });
  if (faults.length > 0) throw new Error(faults.join("\n"));
} catch (error) {
  for (const page of browser.contexts().flatMap((context) => context.pages())) {
    console.log(`${page.url()}: ${await page.locator("body").innerText()}`);
  }
  throw error;
} finally {
  await browser.close();
}
