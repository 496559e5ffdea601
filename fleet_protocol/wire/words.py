"""A fingerprint as eight words, so that two people, or two screens, can compare it.

One word stands for one byte: eight words are the first 64 bits of a SHA-256. To pass off another key, an attacker
would have to find one whose hash begins with the same 64 bits. No two words share their first four letters. Stdlib
only.
"""

from __future__ import annotations

from fleet_protocol.wire.bounds import SHA256_PATTERN, matches

SHOWN = 8

WORDS = tuple(
    """
    acorn actor agent album alpine amber anchor angle
    ankle apple apron arctic arrow atlas autumn badge
    bagel bamboo banana banjo barrel basket beacon beaver
    bishop blanket blossom bonfire border bottle breeze brick
    bridge bronze bucket buffalo burger butter cabin cactus
    camera candle canoe canyon carbon cargo carpet castle
    cavern cement chalk cherry chimney circle citrus clover
    cobalt coconut coffee comet copper coral cotton cradle
    crater crayon cricket crystal curtain dagger daisy dancer
    decade desert diamond dolphin donkey dragon drum eagle
    echo eclipse elbow elder ember emerald engine falcon
    fabric feather fender ferry fiddle finger flame flute
    forest fossil freckle frost galaxy garden garlic gecko
    ginger glacier globe goblet gorilla granite grape gravel
    guitar hammer harbour harvest hazel helmet heron hockey
    honey hornet hunter iceberg igloo indigo insect island
    ivory jacket jaguar jasmine jelly jigsaw jockey jungle
    juniper kayak kernel kettle kidney kitten koala ladder
    lagoon lantern laptop laser lemon leopard lizard lobster
    locket lumber magnet mango maple marble market meadow
    melon mentor mirror mitten monsoon mosaic muffin museum
    mustard napkin nectar needle nickel nugget oasis ocean
    octopus olive onion opera orange orbit orchid otter
    oxygen oyster paddle palace panda papaya parrot pebble
    pelican pencil pepper piano pigeon pilot pirate planet
    plaster pocket polar pony poppy potato prairie pumpkin
    puzzle pyramid quartz quilt rabbit radar radish raven
    ribbon river robin rocket rubber saddle saffron salmon
    sandal satchel saturn scarlet shadow silver siren sketch
    spider spiral sponge statue summit sunset tablet temple
    thimble thunder tiger timber tomato trumpet tulip tundra
    tunnel turtle umpire urchin vanilla velvet violin walnut
    """.split()  # noqa: SIM905 - a table of words reads best as one
)


def words(fingerprint: str) -> str:
    """Eight words for a SHA-256 in hex. Raises ValueError for anything else."""
    if not matches(SHA256_PATTERN, fingerprint):
        raise ValueError("not a SHA-256 in lower-case hex")
    return " ".join(WORDS[byte] for byte in bytes.fromhex(fingerprint)[:SHOWN])
