//! The pages in a real browser: Debian's Chromium, driven by Playwright.

#![cfg(test)]

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../functions/agents/tests/page/life.rs"]
mod life;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../functions/host/tests/support/queue.rs"]
mod queue;

mod chromium;
mod looks;
mod pages;
mod site;
mod whole;
