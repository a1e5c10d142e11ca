"""The figure: body, head, hair, face, and what is worn, in the order in which they are painted.

Unit coordinates; the head is an ellipse about (.5, HEAD_Y), eyes on EYE_Y, the mouth on MOUTH_Y. Sides are -1 (left) and +1 (right).
"""
import math

from canvas import mix, shade

SKINS = ((255, 222, 192), (238, 190, 135), (196, 132, 78), (134, 84, 50))
HAIR_COLOURS = {"black": (34, 30, 34), "brown": (110, 64, 30), "blond": (240, 208, 98), "red": (204, 72, 28), "gray": (165, 165, 172), "blue": (58, 88, 226)}
CLOTHES_COLOURS = {"red": (208, 44, 44), "blue": (48, 92, 208), "green": (44, 152, 78), "yellow": (244, 206, 58), "purple": (132, 68, 176), "white": (242, 242, 242)}
ACCENT_COLOURS = {"red": (226, 40, 48), "blue": (40, 84, 220), "green": (36, 160, 80), "yellow": (250, 208, 44)}
FUR_COLOURS = {"orange": (240, 158, 66), "white": (244, 240, 234), "gray": (150, 150, 158), "brown": (150, 100, 62)}
METAL, DARK_METAL = (176, 190, 204), (98, 108, 124)
INK, WHITE, GOLD, LIPS = (22, 20, 26), (255, 255, 255), (255, 200, 30), (226, 16, 58)

HEAD_Y, RX, RY = .53, .265, .295
EYE_Y, EYE_X, EYE_R = .50, .118, .056
BROW_Y, LINE_Y, CHEEK_Y, MOUTH_Y = .418, .365, .60, .705
SIDES = (-1, 1)


def draw(c, a):
    subject = a["subject"]
    person = subject in ("woman", "man")
    face = SKINS[a["skin"]] if person else METAL if subject == "robot" else FUR_COLOURS[a["fur"]]
    hair = HAIR_COLOURS[a["hair_colour"]]
    if person:
        back_hair(c, a["hair"], hair)
    body(c, a, face)
    head(c, subject, face)
    if a["beard"]:
        beard(c, hair, face)
    if person:
        front_hair(c, a["hair"], hair)
    muzzle(c, subject, face)
    eyes(c, subject)
    brows(c, subject, a["old"])
    if a["old"]:
        wrinkles(c, face)
    if a["freckles"]:
        freckles(c, face)
    mouth(c, a["mouth"], a["lipstick"])
    {"none": lambda c: None, "glasses": glasses, "sunglasses": sunglasses}[a["glasses"]](c)
    if a["earrings"]:
        earrings(c)
    hat(c, a["hat"], ACCENT_COLOURS[a["accent"]])
    if subject == "cat":
        cat_ears(c, face)
    if a["scarf"]:
        scarf(c, ACCENT_COLOURS[a["accent"]])


# body and head

def body(c, a, face):
    wide = {"woman": .30, "man": .40}.get(a["subject"], .34)
    c.rectangle(.5 - wide, .84, .5 + wide, 1.4, CLOTHES_COLOURS[a["clothes"]], radius=.11 if a["subject"] == "woman" else .07)
    c.rectangle(.42, .76, .58, .90, DARK_METAL if a["subject"] == "robot" else shade(face, .85))


def head(c, subject, face):
    if subject == "robot":
        c.rectangle(.485, .10, .515, .3, DARK_METAL)
        c.ellipse(.5, .09, .04, .04, (236, 50, 60))
        for s in SIDES:
            c.rectangle(.5 + s * .285 - .045, .44, .5 + s * .285 + .045, .62, DARK_METAL, radius=.015)
        c.rectangle(.5 - RX, .25, .5 + RX, .82, face, radius=.04)
        return
    if subject in ("woman", "man"):
        for s in SIDES:
            c.ellipse(.5 + s * (RX + .005), .545, .05, .062, shade(face, .9))
    if subject == "man":        # a square jaw
        c.ellipse(.5, HEAD_Y - .03, RX, RY - .03, face)
        c.rectangle(.5 - RX, .48, .5 + RX, .83, face, radius=.10)
    elif subject == "woman":    # a narrow chin
        c.ellipse(.5, HEAD_Y - .05, RX, RY - .05, face)
        c.polygon([(.5 - RX, .50), (.5 + RX, .50), (.5 + RX * .86, .64), (.5 + .10, .805), (.5, .84), (.5 - .10, .805), (.5 - RX * .86, .64)], face)
    else:
        c.ellipse(.5, HEAD_Y + .01, RX + .02, RY - .02, face)
    if subject == "dog":
        for s in SIDES:
            c.ellipse(.5 + s * .275, .50, .085, .20, shade(face, .62))


def cat_ears(c, fur):
    for s in SIDES:
        c.polygon([(.5 + s * .275, .48), (.5 + s * .11, .29), (.5 + s * .26, .10)], fur)
        c.polygon([(.5 + s * .25, .36), (.5 + s * .16, .28), (.5 + s * .24, .17)], (246, 150, 170))


def muzzle(c, subject, face):
    """Nose, and what lies around it."""
    if subject == "dog":
        c.ellipse(.5, .675, .145, .12, mix(face, WHITE, .5))
        c.ellipse(.5, .60, .062, .045, INK)
    elif subject == "cat":
        c.polygon([(.445, .575), (.555, .575), (.5, .635)], (240, 110, 140))
        for s in SIDES:
            for y in (-.03, .04):
                c.line([(.5 + s * .21, .64 + y * .4), (.5 + s * .36, .635 + y)], .014, shade(face, .4))
    elif subject == "robot":
        c.rectangle(.47, .57, .53, .625, DARK_METAL)
    else:
        c.line([(.5, .54), (.468, .618), (.515, .622)], .019, shade(face, .72))


# hair

def back_hair(c, style, colour):
    if style == "long":
        c.rectangle(.5 - .345, .19, .5 + .345, .97, shade(colour, .85), radius=.27)
    elif style == "curly":
        curls(c, [(.5 + .30 * math.cos(t), .47 + .26 * math.sin(t)) for t in (math.radians(155 + 230 * k / 12) for k in range(13))], .095, colour)


def front_hair(c, style, colour):
    if style in ("short", "long"):
        c.sector(.5, HEAD_Y, RX + .025, RY + .03, 212, 328, colour)
        if style == "short":
            for s in SIDES:
                c.rectangle(.5 + s * .255 - .03, .36, .5 + s * .255 + .03, .50, colour, radius=.02)
    elif style == "curly":
        curls(c, [(.5 + .235 * math.cos(t), .50 + .225 * math.sin(t)) for t in (math.radians(205 + 130 * k / 6) for k in range(7))], .078, colour)


def curls(c, centres, radius, colour):
    for k, (x, y) in enumerate(centres):
        c.ellipse(x, y, radius, radius, colour if k % 2 else shade(colour, .76))


def beard(c, colour, face):
    c.sector(.5, .565, RX + .01, .31, 8, 172, colour)
    c.ellipse(.5, MOUTH_Y, .155, .085, face)
    c.rectangle(.5 - .165, .618, .5 + .165, .652, colour, radius=.017)


# face

def eyes(c, subject):
    for s in SIDES:
        x = .5 + s * EYE_X
        if subject == "robot":
            c.rectangle(x - EYE_R, EYE_Y - EYE_R, x + EYE_R, EYE_Y + EYE_R, (30, 226, 240))
            c.rectangle(x - .022, EYE_Y - .022, x + .022, EYE_Y + .022, INK)
            continue
        iris = {"cat": (150, 220, 80), "dog": INK}.get(subject, WHITE)
        c.ellipse(x, EYE_Y, EYE_R, EYE_R * .9, iris)
        if subject == "cat":
            c.ellipse(x, EYE_Y, .018, EYE_R * .85, INK)
        elif subject == "dog":
            c.ellipse(x - .018, EYE_Y - .018, .018, .018, WHITE)
        else:
            c.ellipse(x, EYE_Y, .031, .034, INK)
        if subject == "woman":
            c.curve(x, EYE_Y, EYE_R, EYE_R * .9, 180, 360, .018, INK)
            c.line([(x + s * EYE_R * .8, EYE_Y - .025), (x + s * EYE_R * 1.6, EYE_Y - .055)], .02, INK)


def brows(c, subject, old):
    colour, width = ((250, 250, 252), .036) if old else (INK, .018 if subject == "woman" else .032)
    if subject not in ("woman", "man") and not old:
        return
    for s in SIDES:
        x = .5 + s * EYE_X
        bend = .022 if subject == "woman" else 0
        c.line([(x - .058, BROW_Y + bend), (x, BROW_Y - bend * .4), (x + .058, BROW_Y + bend)], width, colour)


def wrinkles(c, face):
    colour = shade(face, .62)
    c.line([(.39, LINE_Y), (.61, LINE_Y)], .024, colour)
    for s in SIDES:
        c.curve(.5 + s * .145, .70, .05, .075, -70 if s > 0 else 110, 70 if s > 0 else 250, .022, colour)


def freckles(c, face):
    colour = mix(shade(face, .45), (140, 50, 20), .35)
    for s in SIDES:
        for x, y in ((.125, -.010), (.195, -.016), (.162, .038)):
            c.ellipse(.5 + s * x, CHEEK_Y + y, .0215, .0215, colour)


def mouth(c, kind, lipstick):
    lips, width = (LIPS, .038) if lipstick else ((96, 26, 30), .021)
    if kind == "smile":
        c.sector(.5, MOUTH_Y - .045, .125, .115, 0, 180, lips)
        inner = width * .62
        c.sector(.5, MOUTH_Y - .045 + inner * .7, .125 - inner, .115 - inner * 1.5, 0, 180, WHITE)
    elif kind == "frown":
        c.curve(.5, MOUTH_Y + .05, .105, .085, 200, 340, max(width, .030), lips)
    elif kind == "open":
        c.ellipse(.5, MOUTH_Y, .070, .072, lips)
        c.ellipse(.5, MOUTH_Y, .070 - width * .6, .072 - width * .6, (40, 8, 14))
    else:
        c.line([(.42, MOUTH_Y), (.58, MOUTH_Y)], max(width, .024), lips)


# worn

def glasses(c):
    for s in SIDES:
        x = .5 + s * EYE_X
        c.pen.ellipse(c.box(x - .094, EYE_Y - .088, x + .094, EYE_Y + .088), outline=INK, width=c.width(.026))
        c.line([(x + s * .09, EYE_Y - .01), (.5 + s * RX, EYE_Y - .025)], .022, INK)
    c.line([(.48, EYE_Y - .02), (.52, EYE_Y - .02)], .022, INK)


def sunglasses(c):
    for s in SIDES:
        x = .5 + s * EYE_X
        c.rectangle(x - .105, EYE_Y - .072, x + .105, EYE_Y + .082, INK, radius=.05)
        c.line([(x - .055, EYE_Y + .01), (x - .015, EYE_Y - .035)], .02, (150, 160, 180))
        c.line([(x + s * .09, EYE_Y - .03), (.5 + s * RX, EYE_Y - .04)], .026, INK)
    c.line([(.48, EYE_Y - .03), (.52, EYE_Y - .03)], .026, INK)


def earrings(c):
    for s in SIDES:
        x, y = .5 + s * (RX + .03), .655
        c.ellipse(x, y, .056, .056, (120, 70, 0))
        c.ellipse(x, y, .047, .047, GOLD)
        c.ellipse(x, y, .018, .018, (120, 70, 0))


def scarf(c, colour):
    c.rectangle(.5 - .235, .825, .5 + .235, .925, colour, radius=.045)
    c.rectangle(.56, .87, .69, 1.1, shade(colour, .8), radius=.02)
    for x in (.33, .43):
        c.rectangle(x - .018, .825, x + .018, .925, WHITE)
    c.rectangle(.56, .955, .69, .985, WHITE)


def hat(c, kind, colour):
    if kind == "cap":
        c.sector(.5, .325, RX + .02, .20, 180, 360, colour)
        c.rectangle(.40, .285, .93, .345, shade(colour, .6), radius=.028)
    elif kind == "top hat":
        c.rectangle(.5 - .195, .02, .5 + .195, .30, INK)
        c.rectangle(.5 - .195, .215, .5 + .195, .275, (206, 36, 52))
        c.rectangle(.5 - .33, .27, .5 + .33, .335, INK, radius=.025)
    elif kind == "crown":
        c.polygon([(.5 - .225, .335), (.5 - .265, .08), (.5 - .125, .21), (.5, .03), (.5 + .125, .21), (.5 + .265, .08), (.5 + .225, .335)], GOLD)
        c.rectangle(.5 - .225, .28, .5 + .225, .335, shade(GOLD, .75))
        for x in (-.13, 0, .13):
            c.ellipse(.5 + x, .27, .028, .028, (216, 30, 60))
    elif kind == "beanie":
        c.ellipse(.5, .075, .065, .06, WHITE)
        c.sector(.5, .31, RX + .015, .22, 180, 360, colour)
        c.rectangle(.5 - .295, .265, .5 + .295, .345, WHITE, radius=.035)
