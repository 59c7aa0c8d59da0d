// A browser that does what it is told: a line of JSON in, a line of JSON out. The facts are in tests/e2e/dashboard.rs.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const program = execFileSync("sh", ["-c", "command -v chromium || command -v chromium-browser"], { encoding: "utf8" });
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const browser = await chromium.launch({ executablePath: program.trim(), args });
const context = await browser.newContext();
const page = await context.newPage();
page.setDefaultTimeout(40_000);

const sizes = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } };
// Each container that comes or goes changes the machine's networks, and the browser drops what is on its way.
const passing = (text) => text.includes("ERR_NETWORK_CHANGED");
// What the browser itself complains of, policies that were broken among it.
let complaints = [];
page.on("console", (message) => {
  if (message.type() === "error" && !passing(message.text())) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(String(error)));

// The upper part of a page as it was in one moment, as tall as a sheet is.
async function portrait(html, { width }, colorScheme) {
  const tab = await context.newPage();
  await tab.setViewportSize({ width, height: width < 600 ? 1216 : 930 });
  await tab.emulateMedia({ colorScheme });
  await tab.route(page.url(), (route) => route.fulfill({ contentType: "text/html", body: html }));
  await tab.goto(page.url());
  const picture = await tab.screenshot();
  await tab.close();
  return `data:image/png;base64,${picture.toString("base64")}`;
}

// Desktops one above the other, phones beside them.
async function compose(views, path) {
  const board = await (await browser.newContext({ viewport: { width: 1656, height: 1240 } })).newPage();
  const column = (size) => views.filter((view) => view.size === size).map((view) => `<img class="${size}" src="${view.picture}">`);
  await board.setContent(`<style>
    body { margin: 0; display: flex; gap: 12px; padding: 12px; background: #8a938f; }
    div { display: flex; flex-direction: column; gap: 12px; }
    img { display: block; border-radius: 8px; }
    .desktop { width: 828px; height: 602px; object-fit: cover; object-position: top; }
    .phone { width: 390px; height: 1216px; object-fit: cover; object-position: top; }
  </style><div>${column("desktop").join("")}</div>${column("phone").join("")}`);
  await board.screenshot({ path });
  await board.context().close();
}

const acts = {
  open: async ({ url }) => {
    for (;;) {
      try {
        return await page.goto(url);
      } catch (error) {
        if (!passing(String(error))) throw error;
      }
    }
  },
  fill: ({ label, text }) => page.getByLabel(label, { exact: true }).fill(text),
  tick: ({ label }) => page.getByLabel(label).check(),
  press: ({ role, name }) => page.getByRole(role, { name, exact: true }).click(),
  // Waits until the region with this name, or the page, holds the text.
  see: ({ region, text }) => {
    const place = region ? page.getByRole("region", { name: region, exact: true }) : page.locator("main");
    return place.filter({ hasText: text }).first().waitFor();
  },
  text: () => page.locator("main").innerText(),
  url: () => page.url(),
  run: ({ script }) => page.evaluate(script),
  complaints: () => complaints.splice(0),
  // Every look of the page as it is now: a picture, and what is wrong with it for those who do not see it. All of them
  // side by side in one picture, if there is to be a `sheet`; there the stack has another name.
  look: async ({ shots, sheet, stack }) => {
    const found = [];
    const views = [];
    const copy = sheet && (await page.content()).replaceAll(stack, "shop").replace(/<script[^>]*>/, "<script>");
    await page.evaluate(axe);
    for (const [size, viewport] of Object.entries(sizes)) {
      await page.setViewportSize(viewport);
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: `${shots}-${size}-${colorScheme}.png`, fullPage: true });
        const { violations } = await page.evaluate("axe.run()");
        const told = ({ id, nodes }) => `${size} ${colorScheme}: ${id}: ${nodes.map((node) => node.html).join(" ")}`;
        found.push(...violations.map(told));
        const wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
        if (wide > 0) found.push(`${size} ${colorScheme}: ${wide} pixels too wide`);
        if (sheet) views.push({ size, picture: await portrait(copy, viewport, colorScheme) });
      }
    }
    if (sheet) await compose(views, sheet);
    return found;
  },
  // The same page in a browser that runs no script.
  plain: async ({ url }) => {
    const bare = await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() });
    const sheet = await bare.newPage();
    await sheet.goto(url);
    const text = await sheet.locator("main").innerText();
    await bare.close();
    return text;
  },
  // Another site, which shows this page to whoever comes.
  serve: ({ html }) =>
    new Promise((resolve) => {
      const server = createServer((_, answer) => answer.setHeader("content-type", "text/html").end(html));
      server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}/`));
    }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { act, ...how } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await acts[act](how)) ?? null };
    if (typeof answer.ok === "object" && !Array.isArray(answer.ok)) answer.ok = null;
  } catch (error) {
    answer = { error: `${act} ${JSON.stringify(how)}: ${error}\n${await page.locator("body").innerText().catch(() => "")}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
process.exit();
