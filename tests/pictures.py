"""Makes the picture of the README from a real run of the demo: `python -m tests.pictures`.

The real engine generates while the app runs headless; what is saved is what a 120x36 terminal would show.
"""

from __future__ import annotations

import asyncio

from app.jobs.demo import PROMPTS, plan_demo, write_demo_model
from app.resources import ASSETS
from app.ui.app import MoetuneApp
from app.ui.screenshot import save_svg

SIZE = (120, 36)
GENERATING_S = 25.0


async def main() -> None:
    """Run the demo in the UI and save its Live view."""
    path, _ = write_demo_model(lambda done, total: None)
    app = MoetuneApp(planned=plan_demo(path, print), launch_now=True, prompts=PROMPTS * 20)
    async with app.run_test(size=SIZE) as pilot:
        await asyncio.sleep(GENERATING_S)
        await pilot.pause()
        save_svg(app, ASSETS / "images" / "live.svg")


if __name__ == "__main__":
    asyncio.run(main())
