"""The server dies while a text is being written: the page keeps the text and goes on when the server is back."""

from playwright.sync_api import expect

pytest_plugins = ["serving"]


def test_a_broken_connection_keeps_the_text(slow_checkpoint, browser, start_server):
    own = start_server(slow_checkpoint)
    page = browser.new_page()
    panel = page.locator("#panel [data-part=panel]")
    try:
        page.goto(own.url)
        page.wait_for_function("window.jungle?.settings")
        page.locator("#prompt textarea").fill("The grey wolf")
        page.locator("#length input[type=number]").fill("2000")
        page.locator("#length input[type=number]").press("Tab")
        page.locator("#generate").click()
        expect(panel).to_have_attribute("data-state", "writing")
        own.process.kill()
        expect(panel).to_have_attribute("data-state", "lost")
        text = page.evaluate("jungle.story.text")
        assert text.startswith("The grey wolf")
        assert len(text) > len("The grey wolf")
        own.process.wait()
        own = start_server(slow_checkpoint, own.port)
        page.locator("[data-part=onward]").click()
        expect(panel).to_have_attribute("data-state", "writing")
        assert page.evaluate("jungle.story.text").startswith(text)
    finally:
        page.close()
        own.process.kill()
        own.process.wait()
