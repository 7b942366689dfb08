// What a person does with the pages, and what must be seen then.
import { contrasts, expect, fits, reads } from "./browser_checks.mjs";

const headline = (page, text) => page.locator("h1", { hasText: text }).waitFor();

// Steps appear without a reload, soon after their report.
export async function live({ told, control, open }) {
  const page = await open();
  await page.goto(told.welcome);
  await headline(page, "Confirming your payment");
  await control("pay");
  await headline(page, "Setting up your agent");
  await page.evaluate(() => { window.same = true; });
  const delays = [];
  for (const [words, says] of [
    ["open", "wait for the answer"],
    ["accept", "in the queue of GitHub"],
    ["claim", "Preparing the private network"],
    ["step/key_created", "Creating the server"],
    ["step/vm_created", "Connecting the server"],
    ["step/enrolled", "Installing the agent"],
    ["step/ansible_complete", "Checking that the agent answers"],
    ["step/healthy", "Finishing"],
    ["succeed", "Your agent is running"],
  ]) {
    const at = await control(words);
    await page.locator("main", { hasText: says }).waitFor();
    delays.push(Date.now() - at);
  }
  expect(await page.evaluate(() => window.same), "the page was loaded anew");
  expect((await page.title()).startsWith("Your agent is running"), "the title stayed behind");
  const times = await page.locator("#s-claimed time").textContent();
  expect(!times.includes("UTC"), `not the visitor's time: ${times}`);
  const sorted = [...delays].sort((one, other) => one - other);
  console.log(`from report to sight: ${delays.join(", ")} ms`);
  // The page asks every 1.5 s while something moves, else every 5 s. A busy machine is slower, and
  // not by as much.
  expect(sorted[4] <= 4000, `the median is ${sorted[4]} ms`);
}

// A failure is told with what to do; the button sets it right.
export async function failure({ told, control, open }) {
  for (const words of ["pay", "open", "claim", "step/key_created"]) await control(words);
  const page = await open();
  await page.goto(told.page);
  await headline(page, "Setting up your agent");
  await control("fail/permanent");
  await headline(page, "could not be set up");
  await page.locator("main", { hasText: "What you can do" }).waitFor();
  const sent = page.waitForRequest((request) => request.method() === "POST");
  await page.getByRole("button", { name: "Try again" }).click();
  // Older browsers have nothing else to tell whose form it is.
  const { origin } = await (await sent).allHeaders();
  expect(origin === told.url, `the form's origin is ${origin}`);
  await headline(page, "Setting up your agent");
  expect(await page.getByRole("button", { name: "Try again" }).count() === 0, "retry twice");
}

// Focus and a half-pressed button survive what changes around them.
export async function touch({ told, control, open }) {
  for (const words of ["pay", "open", "claim"]) await control(words);
  const page = await open();
  await page.goto(told.page);
  const button = page.getByRole("button", { name: "Stop it when that is done" });
  await button.focus();
  await page.evaluate(() => { window.held = document.activeElement; });
  await control("step/key_created");
  await page.locator("main", { hasText: "Creating the server" }).waitFor();
  expect(await page.evaluate(() => window.held === document.activeElement), "focus was lost");
  const form = page.locator("#do-stop");
  const box = await form.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await control("step/vm_created");
  await page.locator("main", { hasText: "Connecting the server" }).waitFor();
  const moved = await form.boundingBox();
  expect(moved.x === box.x && moved.y === box.y, "the button moved under the finger");
  await page.mouse.up();
  await page.getByRole("button", { name: "Start" }).waitFor();
}

// The keyboard alone reaches and presses the button.
export async function keyboard({ told, control, open }) {
  for (const words of ["pay", "open", "claim", "fail/transient"]) await control(words);
  const page = await open();
  await page.goto(told.page);
  await headline(page, "could not be set up");
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim());
  let tabs = 0;
  while ((await focused()) !== "Try again") {
    await page.keyboard.press("Tab");
    tabs += 1;
    expect(tabs <= 10, "Tab does not reach the button");
  }
  const outline = await page.evaluate(
    () => getComputedStyle(document.activeElement).outlineStyle,
  );
  expect(outline !== "none", "focus cannot be seen");
  await page.keyboard.press("Enter");
  await headline(page, "Setting up your agent");
}

// An expired link says how to get another; a page whose link expires says so too.
export async function expired({ told, control, open, faults }) {
  await control("pay");
  const page = await open();
  const answer = await page.goto(told.expired);
  expect(answer.status() === 410, `status ${answer.status()}`);
  await headline(page, "This link has expired");
  await page.getByText("ask whoever sold you the agent for a new one").waitFor();
  // The browser itself reports the status of the page.
  faults.splice(0, faults.length, ...faults.filter((fault) => !fault.includes("410")));
}

// Who cannot reach the server is told, sees the last state, and is told no more once it can.
export async function offline({ told, control, open, faults }) {
  for (const words of ["pay", "open", "claim"]) await control(words);
  const page = await open();
  await page.goto(told.page);
  await headline(page, "Setting up your agent");
  const note = page.getByText(/We cannot reach the server\. Shown is the state of \d/);
  await page.context().setOffline(true);
  await note.waitFor();
  await headline(page, "Setting up your agent");
  await control("step/key_created");
  await page.context().setOffline(false);
  await page.locator("main", { hasText: "Creating the server" }).waitFor();
  await note.waitFor({ state: "hidden" });
  await control("away");
  await note.waitFor();
  await control("back");
  await control("step/vm_created");
  await note.waitFor({ state: "hidden" });
  await page.locator("main", { hasText: "Connecting the server" }).waitFor();
  // The browser itself reports each call that fails.
  const own = (fault) => fault.includes("ERR_INTERNET_DISCONNECTED") || fault.includes("502");
  faults.splice(0, faults.length, ...faults.filter((fault) => !own(fault)));
}

// Without script the page keeps itself up to date and its buttons work.
export async function plain({ told, control, open }) {
  const page = await open({ javaScriptEnabled: false });
  await page.goto(told.welcome);
  await headline(page, "Confirming your payment");
  await control("pay");
  await headline(page, "Setting up your agent");
  for (const words of ["open", "claim"]) await control(words);
  await page.locator("main", { hasText: "Preparing the private network" }).waitFor();
  expect((await page.locator("#s-claimed time").textContent()).includes("UTC"), "no UTC");
  await page.getByRole("button", { name: "Stop it when that is done" }).click();
  await page.getByRole("button", { name: "Start" }).waitFor();
  await page.context().close();
  const operator = await open({
    javaScriptEnabled: false,
    httpCredentials: { username: "me", password: told.token },
  });
  await operator.goto(`${told.url}/`);
  await operator.getByLabel("State").selectOption("provisioning");
  await operator.getByRole("button", { name: "Filter" }).click();
  await operator.getByRole("link", { name: "Ada's agent" }).click();
  await operator.getByRole("heading", { name: "Timeline, newest first" }).waitFor();
}

// From the checkout to a running agent, then stopped and started, with everything real but what
// is outside: the pages come through the functions' own runtime.
export async function whole({ told, open }) {
  const page = await open();
  page.context().setDefaultTimeout(60000);
  await page.goto(told.welcome);
  await headline(page, "Your agent is running");
  for (const step of ["Payment received", "Server created", "Server connected", "Ready"]) {
    await page.getByText(step, { exact: false }).first().waitFor();
  }
  await page.getByRole("button", { name: "Stop" }).click();
  await headline(page, "Your agent is stopped");
  await page.getByRole("button", { name: "Start" }).click();
  await headline(page, "Your agent is running");
  await page.reload();
  await headline(page, "Your agent is running");
}

// Every page as it looks, on a phone and on a desk, by day and by night.
export async function looks({ told, open, faults }) {
  const sizes = { phone: { width: 390, height: 844 }, desk: { width: 1280, height: 800 } };
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, viewport] of Object.entries(sizes)) {
      const page = await open({
        colorScheme,
        viewport,
        reducedMotion: "reduce",
        httpCredentials: { username: "me", password: told.token },
      });
      for (const [name, address] of Object.entries(told.pages)) {
        await page.goto(address);
        await page.locator("h1").waitFor();
        await fits(page);
        await contrasts(page);
        await reads(page);
        await page.screenshot({
          path: `${told.out}/${name}-${size}-${colorScheme}.png`,
          fullPage: true,
        });
      }
      await page.context().close();
    }
  }
  faults.splice(0, faults.length, ...faults.filter((fault) => !/40[014]|410/.test(fault)));
}
