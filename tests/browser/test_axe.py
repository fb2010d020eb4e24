"""axe-core finds nothing serious or critical in any room, in either light, on any screen."""

import pytest

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

pytest_plugins = ["serving"]


def serious(page) -> list[str]:
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:120]}" for each in found for node in each["nodes"] if each["impact"] in WORST
    ]


WORST = ("serious", "critical")


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_room_can_be_used_by_everybody(open_page, size, scheme):
    page = open_page(size, color_scheme=scheme)
    assert serious(page) == [], "empty"
    page.locator("#generate").click()
    page.wait_for_function("jungle.run.ended && !jungle.stream")
    page.evaluate("jungle.pin(12)")
    page.wait_for_function("document.querySelectorAll('.alternative').length === 10")
    for view in ("plain", "surprise", "memory"):
        page.evaluate("(view) => jungle.view(view)", view)
        if view == "memory":
            page.wait_for_function("jungle.memory.data")
        assert serious(page) == [], view
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-both").click()
    page.wait_for_function("document.querySelector('.compare').dataset.state === 'finished'")
    assert serious(page) == [], "compare"
    page.get_by_role("tab", name="Model").click()
    page.wait_for_function("document.querySelector('.model h2').textContent")
    assert serious(page) == [], "model"
