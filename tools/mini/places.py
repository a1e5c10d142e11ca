"""Backgrounds: plain colours and five places, each with one layout."""
from canvas import shade

PLAIN_COLOURS = {"blue": (120, 180, 240), "green": (140, 210, 140), "yellow": (250, 228, 120), "pink": (252, 180, 205), "gray": (185, 185, 190),
                 "purple": (180, 150, 222)}


def draw(canvas, a):
    {"plain": plain, "night": night, "forest": forest, "city": city, "beach": beach, "sunset": sunset}[a["place"]](canvas, a)


def plain(canvas, a):
    colour = PLAIN_COLOURS[a["plain_colour"]]
    canvas.gradient(colour, shade(colour, .93))


def night(canvas, a):
    canvas.gradient((10, 14, 52), (34, 38, 96))
    for x, y in ((.30, .07), (.07, .36), (.66, .06), (.93, .40), (.06, .62), (.94, .66), (.40, .02)):
        canvas.ellipse(x, y, .017, .017, (255, 250, 200))
    canvas.ellipse(.13, .15, .085, .085, (252, 246, 205))
    canvas.ellipse(.165, .13, .07, .07, (12, 17, 57))
    canvas.ellipse(.87, .15, .022, .022, (255, 250, 200))


def forest(canvas, a):
    canvas.gradient((175, 222, 235), (150, 205, 170))
    for x, top, colour in ((.30, .02, (45, 130, 70)), (.70, .02, (45, 130, 70)), (.10, .10, (30, 100, 55)), (.90, .10, (30, 100, 55))):
        canvas.polygon([(x - .17, .72), (x + .17, .72), (x, top)], colour)
        canvas.rectangle(x - .03, .72, x + .03, 1.1, (95, 62, 36))
    canvas.rectangle(-.1, .90, 1.1, 1.1, (80, 140, 70))


def city(canvas, a):
    canvas.gradient((205, 215, 225), (235, 222, 205))
    for x0, x1, top, colour in ((-.05, .20, .22, (105, 105, 122)), (.22, .42, .05, (140, 128, 128)), (.58, .78, .10, (125, 120, 135)), (.80, 1.05, .26, (98, 100, 120))):
        canvas.rectangle(x0, top, x1, 1.1, colour)
        for row in range(10):
            for column in range(2):
                x, y = (x0 + x1) / 2 + (column - .5) * .10, top + .07 + row * .11
                canvas.rectangle(x - .025, y - .03, x + .025, y + .03, (255, 232, 140))


def beach(canvas, a):
    canvas.gradient((135, 208, 248), (205, 238, 252))
    canvas.rectangle(-.1, .52, 1.1, .76, (35, 135, 200))
    canvas.rectangle(-.1, .74, 1.1, 1.1, (242, 216, 150))
    canvas.ellipse(.13, .15, .09, .09, (255, 222, 60))


def sunset(canvas, a):
    canvas.gradient((105, 55, 140), (255, 160, 60))
    canvas.ellipse(.12, .56, .15, .15, (255, 228, 120))
    canvas.rectangle(-.1, .66, 1.1, 1.1, (70, 38, 80))
