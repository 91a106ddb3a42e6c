"""What a crawl of the drawn world is keyed by."""

from __future__ import annotations

from tests.unit.data.shapes.worlds import spec


def test_a_knob_that_only_the_images_show_changes_their_digest() -> None:
    plain = spec()
    assert plain.images_digest == spec().images_digest
    assert plain.images_digest != spec(pixel_noise=0.5).images_digest
