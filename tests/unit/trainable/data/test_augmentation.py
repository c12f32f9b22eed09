"""Views of images and the batches they make: exact where they can be, and decided by the seed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from trainable.config.schema import TrialConfig
from trainable.data.augmentation import Crops, draw_crops, normalise, resample
from trainable.data.batches import Batches
from trainable.data.datasets import Split
from trainable.data.sources.labels import VOID

PX = 24
CPU = torch.device("cpu")
TOLERANCE = 5e-5  # sampling positions are float32: a view at scale 1 is off by some 1e-5


def random_batch(count: int = 2, height: int = PX, width: int = PX) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)
    labels = torch.randint(0, 7, (count, height, width), dtype=torch.uint8)
    return images, labels.masked_fill(torch.rand(labels.shape) < 0.1, VOID)


def assert_close(one: Tensor, two: Tensor) -> None:
    torch.testing.assert_close(one, two, rtol=0, atol=TOLERANCE)


def view(
    batch: tuple[Tensor, Tensor],
    *,
    scale: float = 1.0,
    corner: tuple[int, int] = (0, 0),
    mirror: bool = False,
    caffe: bool = False,
    sizes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    count = len(batch[0])
    crops = Crops(
        scale=torch.full((count,), scale),
        corner=torch.tensor([corner] * count).float(),
        mirror=torch.full((count,), mirror),
        sizes=torch.tensor([batch[1].shape[1:]] * count) if sizes is None else sizes,
    )
    return resample(*batch, crops, PX, caffe=caffe)


def normalised(images: Tensor) -> Tensor:
    return normalise(images, caffe=False)


def test_pixels_are_normalised_to_imagenets_mean_and_deviation() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    dark, bright = normalised(images).flatten(1).tolist()
    assert dark == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert bright == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225])


def test_caffes_weights_see_blue_green_red_less_their_mean_undivided() -> None:
    # Orange in RGB: the blue channel comes first.
    orange = torch.tensor([255, 128, 1], dtype=torch.uint8).view(1, 3, 1, 1)
    blue, green, red = normalise(orange, caffe=True).flatten().tolist()
    assert blue == pytest.approx(1 - 104.00698793)
    assert green == pytest.approx(128 - 116.66876762)
    assert red == pytest.approx(255 - 122.67891434)
    assert torch.equal(normalise(orange[0], caffe=True), normalise(orange, caffe=True)[0])


@pytest.mark.parametrize("mirror", [False, True])
def test_a_whole_view_at_scale_one_is_the_image_or_its_mirror_image(mirror: bool) -> None:
    batch = random_batch()
    images, labels = view(batch, mirror=mirror)
    whole = [tensor.flip(-1) if mirror else tensor for tensor in batch]
    assert_close(images, normalised(whole[0]))
    assert torch.equal(labels, whole[1].long())
    assert images.dtype == torch.float32


@pytest.mark.parametrize("mirror", [False, True])
def test_the_corner_moves_the_view_down_and_right(mirror: bool) -> None:
    batch = random_batch(height=30, width=41)
    images, labels = view(batch, corner=(3, 11), mirror=mirror)
    cut = [tensor[..., 3 : 3 + PX, 11 : 11 + PX] for tensor in batch]
    cut = [tensor.flip(-1) if mirror else tensor for tensor in cut]
    assert_close(images, normalised(cut[0]))
    assert torch.equal(labels, cut[1].long())


@pytest.mark.parametrize("caffe", [False, True])
@pytest.mark.parametrize("mirror", [False, True])
def test_outside_the_image_is_the_mean_colour_and_void(mirror: bool, caffe: bool) -> None:
    batch = random_batch(height=20, width=16)
    images, labels = view(batch, mirror=mirror, caffe=caffe)
    if mirror:
        images, labels = images.flip(-1), labels.flip(-1)
    inside = torch.zeros(PX, PX, dtype=torch.bool)
    inside[:20, :16] = True
    assert torch.equal(labels[:, :20, :16], batch[1].long())
    assert (labels[:, ~inside] == VOID).all()
    scale = 60 if caffe else 1  # Caffe's scale is wider by some 255 / 4
    assert_close(images[:, :, :20, :16] / scale, normalise(batch[0], caffe=caffe) / scale)
    assert images[:, :, ~inside].abs().max() <= TOLERANCE * scale


@pytest.mark.parametrize("caffe", [False, True])
@pytest.mark.parametrize("scale", [0.8, 1.0, 1.2])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_view_does_not_depend_on_what_else_is_in_the_batch(
    mirror: bool, scale: float, caffe: bool
) -> None:
    # At these scales no sample lies between two pixels, where rounding would choose.
    small, large = random_batch(1, height=22, width=19), random_batch(1, height=57, width=43)
    images, labels = (torch.cat([part, part]) for part in large)
    images[0], labels[0] = 0, VOID
    images[0, :, :22, :19], labels[0, :22, :19] = small[0][0], small[1][0]
    sizes = torch.tensor([[22, 19], [57, 43]])
    together = view((images, labels), scale=scale, mirror=mirror, caffe=caffe, sizes=sizes)
    for place, single in enumerate((small, large)):
        alone = view(single, scale=scale, mirror=mirror, caffe=caffe)
        factor = 60 if caffe else 1
        assert_close(together[0][place] / factor, alone[0][0] / factor)
        assert torch.equal(together[1][place], alone[1][0])


def test_scale_two_shows_every_pixel_twice_and_blends_images_only() -> None:
    batch = random_batch(height=PX, width=PX)
    images, labels = view(batch, scale=2.0, corner=(4, 8))
    doubled = batch[1].long().repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(labels, doubled[:, 4 : 4 + PX, 8 : 8 + PX])
    # A quarter of a pixel beside its centre: 9/16 of it, 3/16 of two neighbours, 1/16 of the last.
    pixels = normalised(batch[0])[:, :, 2:4, 4:6]
    shares = torch.tensor([[9, 3], [3, 1]]) / 16
    assert_close(images[:, :, 1, 1], (pixels * shares).sum(dim=(2, 3)))


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.1, 1.5])
def test_labels_are_never_blended(scale: float) -> None:
    images, labels = random_batch()
    labels = torch.where(labels > 3, 20, torch.where(labels > 1, 7, 0)).to(torch.uint8)
    _, seen = view((images, labels), scale=scale, mirror=True)
    assert set(seen.flatten().tolist()) <= {0, 7, 20, VOID}
    assert set(seen.flatten().tolist()) >= {0, 7, 20}
    assert (seen == VOID).any() == (scale < 1)


def crops_of(count: int, seed: int = 0, height: int = 70, width: int = 50, **values: Any) -> Crops:
    config = TrialConfig(crop_px=48, generator="deeplab_small", **values)
    sizes = torch.tensor([[height, width]]).expand(count, 2)
    return draw_crops(config, sizes, torch.Generator().manual_seed(seed))


def test_every_scale_of_the_base_code_is_drawn_and_no_other() -> None:
    crops = crops_of(2000)
    scales = (crops.scale * 10).round()
    assert set(scales.tolist()) == set(range(5, 16))
    torch.testing.assert_close(crops.scale, scales / 10)
    assert torch.bincount(scales.long())[5:].min() > 120  # about 182 each


def test_the_largest_scale_is_not_exceeded() -> None:
    scales = set(crops_of(500, scale_min=0.8, scale_max=0.97).scale.tolist())
    assert sorted(scales) == pytest.approx([0.8, 0.9, 0.97])


def test_a_crop_lies_anywhere_in_a_larger_image_and_at_the_corner_of_a_smaller() -> None:
    crops = crops_of(500, scale_min=1, scale_max=1)
    rows, columns = (set(side.tolist()) for side in crops.corner.unbind(dim=1))
    assert rows == set(range(70 - 48 + 1))
    assert columns == set(range(50 - 48 + 1))
    assert crops_of(50, scale_min=0.5, scale_max=0.6).corner.any().logical_not()


def test_no_crop_reaches_beyond_its_scaled_image() -> None:
    crops = crops_of(2000)
    room = (torch.tensor([70, 50]) * crops.scale[:, None] - 48).clamp(min=0)
    assert (crops.corner >= 0).all()
    assert (crops.corner <= room).all()
    assert torch.equal(crops.corner, crops.corner.round())


def test_each_image_has_its_own_size() -> None:
    config = TrialConfig(crop_px=48, generator="deeplab_small", scale_min=1, scale_max=1)
    sizes = torch.tensor([[48, 100], [100, 48]]).repeat(50, 1)
    corner = draw_crops(config, sizes, torch.Generator().manual_seed(0)).corner
    assert (corner[0::2, 0] == 0).all()
    assert (corner[1::2, 1] == 0).all()
    assert corner.amax() > 40


def test_half_of_the_views_are_mirrored_or_none() -> None:
    assert 0.45 < crops_of(2000).mirror.float().mean() < 0.55
    assert not crops_of(100, mirror=False).mirror.any()


def test_scale_row_column_and_mirror_are_drawn_independently() -> None:
    crops = crops_of(2000, height=500, width=500)
    places = crops.corner / (500 * crops.scale[:, None] - 48)
    drawn = torch.stack((crops.scale, *places.unbind(dim=1), crops.mirror.float()))
    assert (torch.corrcoef(drawn) - torch.eye(4)).abs().max() < 0.1


def test_draws_are_decided_by_the_generator() -> None:
    one, same, other = crops_of(9), crops_of(9), crops_of(9, seed=1)
    for name in ("scale", "corner", "mirror"):
        assert torch.equal(getattr(one, name), getattr(same, name))
        assert not torch.equal(getattr(one, name), getattr(other, name))


def batches(count: int = 10, **values: Any) -> Batches:
    """Return batches of images whose every pixel and label is their index."""
    base: dict[str, Any] = {"crop_px": 16, "generator": "deeplab_small", "batch_size": 4}
    grey = torch.arange(count, dtype=torch.uint8)
    split = Split.of_equal(
        grey.view(-1, 1, 1, 1).repeat(1, 3, 20, 20), grey.view(-1, 1, 1).repeat(1, 20, 20)
    )
    return Batches(split, TrialConfig(**base | values), CPU)


def indices(drawn: Batches, iteration: int) -> list[int]:
    return [int(labels.min()) for labels in drawn.draw(iteration)[1]]


@pytest.mark.parametrize("batch_size", [1, 4, 10, 25])
def test_every_epoch_shows_each_image_once_across_the_ends_of_batches(batch_size: int) -> None:
    drawn = batches(batch_size=batch_size)
    shown = [index for i in range(200 // batch_size) for index in indices(drawn, i)]
    epochs = [shown[start : start + 10] for start in range(0, 200, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 20


def test_images_and_labels_of_a_batch_belong_together() -> None:
    drawn = batches(scale_min=1, scale_max=1)
    images, labels = drawn.draw(0)
    wanted = normalised(labels[:, None].expand(-1, 3, -1, -1).to(torch.uint8))
    assert_close(images, wanted)


def test_images_of_several_sizes_come_whole_and_at_their_own_places() -> None:
    sizes = [(20, 9), (7, 20), (16, 16), (3, 30)]
    images = [torch.full((3, *size), 10 * k, dtype=torch.uint8) for k, size in enumerate(sizes)]
    labels = [torch.full(size, k, dtype=torch.uint8) for k, size in enumerate(sizes)]
    split = Split(
        images=torch.cat([image.flatten() for image in images]),
        labels=torch.cat([label.flatten() for label in labels]),
        sizes=torch.tensor(sizes),
    )
    config = TrialConfig(
        crop_px=32, generator="deeplab_small", batch_size=4, scale_min=1, scale_max=1, mirror=False
    )
    drawn, seen = Batches(split, config, CPU).draw(0)
    order = [int(label[0, 0]) for label in seen]
    assert sorted(order) == [0, 1, 2, 3]
    caffe = config.is_caffe
    for k, view, label in zip(order, drawn, seen, strict=True):
        h, w = sizes[k]
        assert (label[:h, :w] == k).all()
        assert (label != VOID).sum() == h * w
        assert_close(view[:, :h, :w], normalise(images[k], caffe=caffe))
        assert torch.count_nonzero(view[:, h:]) == torch.count_nonzero(view[:, :, w:]) == 0


def test_batches_are_laid_out_as_the_weights_want_them() -> None:
    plain, caffe = (batches(trunk_layout=layout) for layout in ("torchvision", "caffe"))
    assert plain.draw(0)[0].abs().max() < 3
    assert caffe.draw(0)[0].abs().max() > 90


def test_a_batch_depends_on_its_iteration_and_not_on_those_before() -> None:
    in_order, late = batches(), batches()
    shown = [in_order.draw(i) for i in range(8)]
    for i in (7, 2, 5):
        for one, two in zip(shown[i], late.draw(i), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize(
    "values",
    [
        {"lambda_adv": 1},
        {"adversarial": "none"},
        {"lr_generator": 1},
        {"swa_n": 3},
        {"data_seed": 3},
    ],
)
def test_paired_trials_see_the_same_batches(values: dict[str, Any]) -> None:
    for i in range(4):
        for one, two in zip(batches().draw(i), batches(**values).draw(i), strict=True):
            assert torch.equal(one, two)


def test_order_and_views_differ_by_seed() -> None:
    one, two = batches(), batches(seed=1)
    assert [indices(one, i) for i in range(3)] != [indices(two, i) for i in range(3)]
    # One image only, so that the views alone can differ.
    views = [batches(count=1, seed=seed).draw(0)[1] for seed in (0, 1)]
    assert not torch.equal(*views)


def test_views_differ_from_epoch_to_epoch() -> None:
    drawn = batches(count=1)
    assert not torch.equal(drawn.draw(0)[1], drawn.draw(1)[1])
