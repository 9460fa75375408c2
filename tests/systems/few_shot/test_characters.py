from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.systems.few_shot import characters as room
from metaloop.systems.few_shot.embedding import convolve, distort, embed, initial, statistics
from metaloop.systems.few_shot.peers import from_scratch, nearest_neighbor
from metaloop.systems.few_shot.prototypes import Prototypes, Settings, train


@pytest.fixture(scope="module")
def seen():
    return room.training()


@pytest.fixture(scope="module")
def unseen():
    return room.unseen()


@pytest.fixture(scope="module")
def runs():
    return room.lake_runs()


def test_the_sets_have_the_published_sizes(seen, unseen, runs):
    assert seen.images.shape == (136, 20, 28, 28)
    assert dict(zip(seen.names, np.bincount(seen.alphabets), strict=True)) == {
        "Balinese": 24,
        "Early_Aramaic": 22,
        "Greek": 24,
        "Korean": 40,
        "Latin": 26,
    }
    assert unseen.images.shape == (106, 20, 28, 28)
    sizes = dict(zip(unseen.names, np.bincount(unseen.alphabets), strict=True))
    assert sizes == {"Japanese_(katakana)": 47, "Sanskrit": 42, "Tagalog": 17}
    assert runs.support.shape == runs.query.shape == (20, 20, 1, 28, 28)
    assert len(runs) == runs.way == 20
    assert runs.shot == 1
    for images in (seen.images, unseen.images, runs.support, runs.query):
        assert images.dtype == np.float32
        assert images.min() == 0
        assert images.max() == 1
        assert (images.sum((-1, -2)) > 3).all()  # something is drawn on each
        assert 0.02 < images.mean() < 0.15  # and it is the ink, not the paper, that is 1


def test_no_alphabet_and_no_drawing_is_in_two_sets(seen, unseen, runs):
    assert not set(seen.names) & set(unseen.names)
    drawings = [{i.tobytes() for i in x.reshape(-1, 784)} for x in (seen.images, unseen.images)]
    drawings.append({i.tobytes() for x in (runs.support, runs.query) for i in x.reshape(-1, 784)})
    assert [len(d) for d in drawings] == [2720, 2120, 800]
    assert len(set.union(*drawings)) == 2720 + 2120 + 800


def test_each_query_of_a_run_has_a_class_of_its_own(runs):
    assert (np.sort(runs.labels.reshape(20, 20), axis=1) == np.arange(20)).all()
    # Which drawing is of which character is read as it was meant: even aligned pixels are right 13 times more often
    # than by chance, and much less often with the runs' labels exchanged.
    answers = nearest_neighbor(runs.normalized(), blur=1.5)
    assert runs.error(answers).mean() < 0.5
    assert (answers != np.roll(runs.labels, 1, axis=0)).mean() > 0.9


def test_labels_and_alphabets_agree(seen):
    assert seen.labels.shape == (136, 20)
    assert (seen.labels[:, 0] == np.arange(136)).all()
    greek = seen.only("Greek")
    assert len(greek) == 24
    np.testing.assert_array_equal(greek.images, seen.images[seen.alphabets == seen.names.index("Greek")])
    rest = seen.without("Greek", "Korean")
    assert rest.names == ("Balinese", "Early_Aramaic", "Latin")
    assert len(rest) == 72
    assert set(rest.alphabets) == {0, 1, 2}
    with pytest.raises(InputError, match="alphabet"):
        seen.only("Klingon")


def test_turned_characters_are_new_characters(seen):
    all_of_them = seen.turned(mirrored=True)
    assert len(all_of_them) == 8 * 136
    assert len(set(all_of_them.names)) == 40
    np.testing.assert_array_equal(np.bincount(all_of_them.alphabets), np.tile(np.bincount(seen.alphabets), 8))
    np.testing.assert_array_equal(all_of_them.images[136 + 7, 3], np.rot90(seen.images[7, 3]))
    np.testing.assert_array_equal(all_of_them.images[4 * 136 + 7, 3], seen.images[7, 3, :, ::-1])
    np.testing.assert_array_equal(seen.turned().images, all_of_them.images[: 4 * 136])


def test_episodes_are_valid(seen):
    drawings = {image.tobytes(): k for k, row in enumerate(seen.images) for image in row}
    rng = np.random.default_rng(0)
    made = room.sample(seen, rng, way=5, shot=2, queries=3, episodes=40, within=0.5)
    assert made.support.shape == (40, 5, 2, 28, 28)
    assert made.query.shape == (40, 5, 3, 28, 28)
    inside = 0
    for k in range(40):
        rows = made.characters[k]
        assert len(set(rows)) == 5
        inside += len(set(seen.alphabets[rows])) == 1
        images = np.concatenate([made.support[k], made.query[k]], axis=1)
        assert len({i.tobytes() for i in images.reshape(-1, 784)}) == 25
        assert [[drawings[i.tobytes()] for i in row] for row in images] == np.repeat(rows[:, None], 5, 1).tolist()
        assert (made.labels[k] == np.arange(5)[:, None]).all()
    assert 10 < inside < 30
    again = room.sample(seen, np.random.default_rng(0), way=5, shot=2, queries=3, episodes=40, within=0.5)
    np.testing.assert_array_equal(made.query, again.query)


def test_one_person_draws_all_support_where_asked(seen):
    made = room.sample(seen, np.random.default_rng(1), way=20, episodes=5, within=1, same_drawers=True)
    for k in range(5):
        assert len(set(seen.alphabets[made.characters[k]])) == 1
        for images in (made.support[k, :, 0], made.query[k, :, 0]):
            of = seen.images[made.characters[k]]
            assert (of == images[:, None]).all((2, 3)).all(0).sum() == 1  # one and the same drawer for all classes


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"way": 137}, "way"),
        ({"way": 41, "within": 1.0}, "way"),
        ({"way": 5, "within": 1.5}, "within"),
        ({"way": 5, "shot": 18, "queries": 3}, "shot"),
        ({"way": 5, "queries": 0}, "queries"),
    ],
)
def test_impossible_episodes_are_refused(seen, bad, word):
    with pytest.raises(InputError, match=word):
        room.sample(seen, np.random.default_rng(0), **bad)


def test_normalizing_undoes_place_and_size():
    y, x = np.mgrid[:28, :28]

    def ellipse(cy, cx, ry, rx):
        return np.clip(3 * (1 - ((y - cy) / ry) ** 2 - ((x - cx) / rx) ** 2), 0, 1).astype(np.float32)

    a, b, c = room.normalize(np.stack([ellipse(14, 14, 9, 9), ellipse(9, 17, 6, 6), ellipse(9, 17, 6, 6)]))
    assert np.abs(a - b).mean() < 0.05
    assert np.abs(ellipse(14, 14, 9, 9) - ellipse(9, 17, 6, 6)).mean() > 0.2
    np.testing.assert_allclose(b, c, atol=1e-5)
    grid = np.arange(28) - 13.5
    flat = room.normalize(ellipse(14, 14, 5, 9), aspect=1.0)
    for moments in (a.sum(0), a.sum(1), flat.sum(0), flat.sum(1)):
        assert abs(moments @ grid / moments.sum()) < 0.2
        assert abs(np.sqrt(moments @ grid**2 / moments.sum()) - 6.5) < 0.7


@pytest.mark.parametrize(("size", "side", "stride"), [(28, 3, 2), (7, 3, 2), (4, 3, 1), (9, 5, 3)])
def test_convolution_is_that_of_xla(size, side, stride):
    keys = jax.random.split(jax.random.key(0))
    images = jax.random.normal(keys[0], (3, size, size, 2))
    kernel = jax.random.normal(keys[1], (side, side, 2, 4))
    known = jax.lax.conv_general_dilated(
        images, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    made = jax.jit(convolve, static_argnums=2)(images, kernel, stride)
    np.testing.assert_allclose(made, known, atol=1e-4)


def test_features_with_known_statistics_are_each_images_own(seen):
    images = jnp.asarray(seen.images[:10, 0])
    weights = jax.jit(initial, static_argnums=1)(jax.random.key(0), (4, 4, 4, 8))
    known = jax.jit(statistics)(weights, images)
    own, batch = jax.jit(embed), jax.jit(lambda weights, images: embed(weights, images))
    features = own(weights, images, known)
    assert features.shape == (10, 32)
    np.testing.assert_allclose(features, batch(weights, images), atol=1e-4)
    other = images.at[2:].set(images[0])
    np.testing.assert_allclose(features[:2], own(weights, other, known)[:2], atol=1e-4)
    assert np.abs(features[:2] - batch(weights, other)[:2]).max() > 0.1


def test_distortion_of_no_strength_is_the_image(seen):
    images = jnp.asarray(seen.images[:8, 0])
    draw = jax.jit(distort)
    np.testing.assert_allclose(draw(jax.random.key(0), images, 0.0), jnp.clip(images * np.exp(0.2), 0, 1), atol=1e-4)
    drawn = np.asarray(draw(jax.random.key(0), jnp.tile(images[:1], (8, 1, 1)), 1.0))
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert np.abs(drawn[0] - drawn[1]).mean() > 0.01  # each has a distortion of its own
    assert np.corrcoef(drawn[0].ravel(), images[0].ravel())[0, 1] > 0.3


def test_a_prototypical_network_learns_in_a_few_steps(seen):
    learned = seen.normalized().without("Latin")
    new = room.sample(seen.normalized().only("Latin"), np.random.default_rng(0), way=5, episodes=60, queries=2)
    settings = Settings(widths=(16, 32), steps=60, way=24, drawings=3, groups=1, per_group=12, rate=3e-3)
    network = train(learned, seed=0, settings=settings)
    weights = initial(jax.random.key(0), settings.widths)
    untrained = Prototypes(weights, statistics(weights, jnp.asarray(learned.images[:, 0])))
    error, before = (new.error(n.classify(new)).mean() for n in (network, untrained))
    assert error < 0.25
    assert error < 0.9 * before
    # A query's answer depends on nothing but the support and itself.
    np.testing.assert_array_equal(network.classify(new[:7]), network.classify(new)[:7])


def test_bad_settings_are_refused(seen):
    with pytest.raises(InputError, match="way"):
        train(seen.only("Latin"), settings=Settings(way=300))
    with pytest.raises(InputError, match="drawings"):
        Settings(drawings=1)
    with pytest.raises(InputError, match="per_group"):
        Settings(way=20, groups=2, per_group=20)


def test_a_network_from_scratch_is_better_than_chance(seen):
    tasks = room.sample(seen.normalized(), np.random.default_rng(0), way=5, shot=5, queries=4, episodes=3)
    answers = from_scratch(tasks, steps=20, copies=2, widths=(8, 16))
    assert answers.shape == tasks.labels.shape
    assert tasks.error(answers).mean() < 0.5
