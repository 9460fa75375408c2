"""Simulated engineering and control tasks: what the family "control" of families.py is made of.

A task draws one plant from a random generator and returns the widest ranges of its parameters, each (low, high) or
(low, high, "log"), and a loss of the parameters in their own units. Time steps are fixed, so losses are free of noise.
Plain floats, not arrays, where a simulation is a long chain of small steps: no compiler is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.linalg import solve_banded

Ranges = list[tuple]
Loss = Callable[[list[float]], float]


def servo(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """A PID controller turns a shaft: dry friction, a saturated motor, dead time, a load that comes and goes.

    Parallel PID with filtered derivative, setpoint weight and back-calculation against windup (Åström & Hägglund,
    Advanced PID Control, 2006). Loss: time-weighted absolute error after each step of the reference (ITAE), in rad s²,
    plus the total variation of the torque.
    """
    dt, n = 0.01, 400
    inertia, viscous, dry = rng.uniform(0.02, 0.06), rng.uniform(0.02, 0.1), rng.uniform(0.02, 0.15)  # SI units
    limit, delay, load = rng.uniform(0.8, 2.0), int(rng.integers(2, 7)), rng.uniform(0.1, 0.3)
    steps = rng.uniform(0.5, 1.5), rng.uniform(-1.0, 0.3)

    def loss(p):
        kp, ki, kd, filtering, unwind, weight = p
        angle = speed = integral = slope = torque_before = total = 0.0
        queue, y_before = [0.0] * delay, 0.0
        for k in range(n):
            reference = steps[0] if k < n // 2 else steps[1]
            error = reference - angle
            slope += dt / (filtering + dt) * ((angle - y_before) / dt - slope)
            y_before = angle
            wish = kp * (weight * reference - angle) + integral - kd * slope
            torque = min(max(wish, -limit), limit)
            integral += dt * (ki * error + unwind * (torque - wish))
            queue.append(torque)
            drive = queue[k] - (load if 120 < k < 160 or 300 < k < 340 else 0.0)
            free = speed + dt * (drive - viscous * speed) / inertia
            speed = math.copysign(max(abs(free) - dt * dry / inertia, 0.0), free)  # dry friction stops, never drives
            angle += dt * speed
            total += dt * (dt * (k % (n // 2)) * abs(error)) + 2e-3 * abs(torque - torque_before)
            torque_before = torque
        return total

    gains = [(0.1, 50, "log"), (0.01, 100, "log"), (0.003, 5, "log")]
    return [*gains, (0.002, 0.3, "log"), (0.1, 30, "log"), (0, 1)], loss


def cartpole(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """A cart swings its pole up by energy and catches it by state feedback.

    Dynamics of Barto, Sutton & Anderson (1983), energy control of Åström & Furuta (2000). Loss: mean over 6 s of the
    pole's height below its top and of the cart's displacement; leaving the track costs the worst for the time left.
    """
    cart, pole, half = rng.uniform(0.6, 1.4), rng.uniform(0.08, 0.25), rng.uniform(0.25, 0.5)  # kg, kg, m
    limit, track, drag, begin = rng.uniform(6, 12), rng.uniform(1.2, 2.4), rng.uniform(0.05, 0.3), rng.uniform(0, 0.3)
    dt, n, g = 0.02, 300, 9.81

    def loss(p):
        pump, center, brake, catch, *gains = p
        x = v = w = total = 0.0
        a = math.pi - begin
        for k in range(n):
            sine, cosine = math.sin(a), math.cos(a)
            if cosine > math.cos(catch):
                off = math.atan2(sine, cosine)
                force = gains[0] * x + gains[1] * v + gains[2] * off + gains[3] * w
            else:
                energy = pole * half * (2 / 3 * half * w * w + g * (cosine - 1.0))
                force = pump * energy * math.copysign(1.0, w * cosine) - center * x - brake * v
            force = min(max(force, -limit), limit) - drag * v
            push = (force + pole * half * w * w * sine) / (cart + pole)
            turn = (g * sine - cosine * push) / (half * (4 / 3 - pole * cosine * cosine / (cart + pole)))
            v += dt * (push - pole * half * turn * cosine / (cart + pole))
            w += dt * turn
            x, a = x + dt * v, a + dt * w
            if abs(x) > track:
                return (total + 2.5 * (n - k)) / n
            total += 1.0 - math.cos(a) + 0.5 * (x / track) ** 2
        return total / n

    ranges = [(1, 300, "log"), (0.1, 30, "log"), (0.05, 10, "log"), (0.1, 1.2)]
    return [*ranges, (0.1, 30, "log"), (0.3, 30, "log"), (5, 150, "log"), (1, 50, "log")], loss


def reactor(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """A stirred tank with an exothermic reaction follows a concentration, by eight coolant temperatures in time.

    The model and numbers of Seborg, Edgar & Mellichamp (Process Dynamics and Control), which ignites and cycles. Loss:
    mean squared error of the concentration over (0.1 mol/l)², heat above a limit, and the coolant's movement.
    """
    dt, n = 0.025, 320  # minutes
    k0, activation = 7.2e10 * rng.uniform(0.8, 1.25), 8750.0
    heat, cool, feed = rng.uniform(190, 225), rng.uniform(1.9, 2.3), rng.uniform(347, 353)  # K l/mol, 1/min, K
    levels, hot = rng.uniform(0.35, 0.85, 3), rng.uniform(355, 375)
    target = np.interp(np.arange(n) * dt, [0, 2, 2.6, 4.6, 5.6, 8], np.repeat(levels, 2)).tolist()
    where = np.arange(n) / (n - 1) * 7

    def loss(p):
        c, t, total = 0.85, 325.0, 0.0
        for coolant, wanted in zip(np.interp(where, range(8), p).tolist(), target, strict=True):
            rate = k0 * math.exp(-activation / t)
            c = (c + dt) / (1.0 + dt * (1.0 + rate))  # implicit, for the reaction is fast once it is hot
            t = (t + dt * (feed + heat * rate * c + cool * coolant)) / (1.0 + dt * (1.0 + cool))
            t = min(t, 600.0)
            total += 100.0 * (c - wanted) ** 2 + 0.1 * max(t - hot, 0.0)
        return total / n + 1e-4 * sum((a - b) ** 2 for a, b in zip(p[1:], p[:-1], strict=True))

    return [(275, 325)] * 8, loss


def suspension(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """A quarter of a car on a rough road: spring, damping in bump and in rebound, skyhook gain.

    The road is a sum of sines with the spectrum of ISO 8608, and one bump. Loss: root mean squares of the body's
    acceleration (m/s²) and of the wheel load's change (kN), and how hard the stops are hit.
    """
    dt, n = 0.005, 440
    body, wheel, tire = rng.uniform(220, 420), rng.uniform(30, 50), rng.uniform(1.5e5, 2.4e5)  # kg, kg, N/m
    gap, speed = rng.uniform(0.04, 0.08), rng.uniform(12, 30)  # m, m/s
    waves, t = np.geomspace(0.03, 3, 40), np.arange(n) * dt  # cycles/m
    height = 8e-3 * rng.uniform(0.5, 1.5) * np.sqrt(np.gradient(waves)) * 0.1 / waves
    road = (height * np.sin(2 * np.pi * (waves * speed * t[:, None] + rng.random(40)))).sum(axis=1)
    road += rng.uniform(0.02, 0.06) * np.exp(-0.5 * ((t - 1.2) * speed / 0.6) ** 2)
    road = (road - road[0]).tolist()

    def loss(p):
        spring, bump, rebound, sky = p
        xb = vb = xw = vw = comfort = grip = stops = 0.0
        for r in road:
            stroke, rate = xw - xb, vw - vb
            force = spring * stroke + (bump if rate > 0 else rebound) * rate
            if vb * rate < 0:  # a semi-active damper can only dissipate
                force -= sky * vb
            over = abs(stroke) - gap
            if over > 0:
                force += math.copysign(min(2e5 * over, 2e4), stroke)
                stops += over
            press = tire * (r - xw)
            vb += dt * force / body
            vw += dt * (press - force) / wheel
            xb, xw = xb + dt * vb, xw + dt * vw
            comfort += (force / body) ** 2
            grip += press * press
        return math.sqrt(comfort / n) + 1e-3 * math.sqrt(grip / n) + 20.0 * stops

    return [(5e3, 8e4, "log"), (100, 6e3, "log"), (100, 6e3, "log"), (50, 5e3, "log")], loss


def pumps(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """Twelve pump speeds, two hours each, fill a water tank while demand and tariff change over the day.

    Affinity laws of centrifugal pumps on a quadratic system curve; below some speed nothing flows. Loss, in euros:
    energy, the highest power, starts, water missing or spilled, and what the tank lacks after the day.
    """
    shape = 1 + 0.5 * np.sin(2 * np.pi * (np.arange(48) - rng.uniform(12, 20)) / 48) + rng.uniform(-0.2, 0.2, 48)
    demand = (rng.uniform(120, 180) * shape).tolist()  # m³/h in half hours
    prices = np.where((np.arange(48) >= 14) & (np.arange(48) < 40), 0.16, 0.08) * rng.uniform(0.8, 1.2, 48)
    evening = int(rng.integers(30, 38))
    prices[evening : evening + 6] *= 2
    tariff, area, most = prices.tolist(), rng.uniform(90, 160), rng.uniform(4, 6)  # euros/kWh, m², m
    lift, head, slope, friction = rng.uniform(22, 30), rng.uniform(48, 60), 2.5e-4, rng.uniform(1e-4, 4e-4)
    begin = rng.uniform(0.4, 0.7) * most

    def loss(p):
        level, cost, top, before = begin, 0.0, 0.0, 0.0
        for k in range(48):
            s = p[k // 4]
            spare = s * s * head - lift - level
            flow = math.sqrt(spare / (slope + friction)) if spare > 0 else 0.0
            power = 0.0
            if flow:
                off = flow / (250.0 * s) - 1.0
                power = 9.81 * flow * (s * s * head - slope * flow * flow) / 3600 / max(0.8 - 0.6 * off * off, 0.2)
                cost += 4.0 if not before else 0.0
            before, top = flow, max(top, power)
            cost += 0.5 * power * tariff[k]
            level += 0.5 * (flow - demand[k]) / area
            low, high = max(0.3 * most - level, 0.0), max(level - most, 0.0)
            cost += 10.0 * low + 6.0 * high
            level = min(max(level, 0.0), most)
        return cost + 0.6 * top + 20.0 * max(begin - level, 0.0)

    return [(0.5, 1.25)] * 12, loss


def inventory(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """Three stocks in series, each orders up to S from the next when its position falls to s: six whole numbers.

    Serial (s, S) policies (Clark & Scarf 1960) under one fixed year of lumpy demand. Loss: holding, fixed and backorder
    costs a day; the numbers are rounded, so it is piecewise constant.
    """
    days, lead = 250, rng.integers(1, 6, 3).tolist()
    mean = rng.uniform(3, 8)
    demand = (rng.poisson(mean, days) * (rng.random(days) < 0.7)).tolist()
    holding, fixed, penalty = [1.0, *sorted(rng.uniform(0.2, 0.8, 2))[::-1]], rng.uniform(5, 60, 3).tolist(), 12.0

    def loss(p):
        low = [round(v) for v in p[:3]]
        high = [s + max(round(v), 1) for s, v in zip(low, p[3:], strict=True)]
        stock, owed, position = list(high), [0, 0, 0], list(high)
        coming = [[0] * (days + 8) for _ in range(3)]
        cost = 0.0
        for day, wanted in enumerate(demand):
            for i in range(3):
                stock[i] += coming[i][day]
            owed[0] += wanted
            position[0] -= wanted
            for i in range(3):
                if position[i] <= low[i]:
                    amount = high[i] - position[i]
                    position[i] = high[i]
                    cost += fixed[i]
                    if i < 2:
                        owed[i + 1] += amount
                        position[i + 1] -= amount
                    else:
                        coming[2][day + lead[2]] += amount
            for i in range(3):
                sent = min(stock[i], owed[i])
                stock[i] -= sent
                owed[i] -= sent
                if i:
                    coming[i - 1][day + lead[i - 1]] += sent
                cost += holding[i] * stock[i]
            cost += penalty * owed[0]
        return cost / days

    reach = 12 * mean
    return [(-2 * mean, reach)] + [(-3 * mean, reach)] * 2 + [(1, reach, "log")] * 3, loss


def truss(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """The ten-bar truss (Haftka & Gürdal, Elements of Structural Optimization): the least mass that bears two loads.

    Linear finite elements; ten areas in cm². Loss: mass in tonnes, and 15 t times the logarithm of the worst stress and
    displacement over their limits where they exceed them, so that the optimum lies in a corner of the constraints.
    """
    bay = 9.144
    nodes = bay * np.array([[2, 1], [2, 0], [1, 1], [1, 0], [0, 1], [0, 0]])
    nodes[:4] += rng.uniform(-1, 1, (4, 2))
    ends = np.array([[4, 2], [2, 0], [5, 3], [3, 1], [2, 3], [0, 1], [4, 3], [2, 5], [2, 1], [0, 3]])
    along = nodes[ends[:, 1]] - nodes[ends[:, 0]]
    length = np.linalg.norm(along, axis=1)
    stretch = np.zeros((10, 12))
    for i, (a, b) in enumerate(ends):
        stretch[i, 2 * a : 2 * a + 2], stretch[i, 2 * b : 2 * b + 2] = -along[i] / length[i], along[i] / length[i]
    stretch, young = stretch[:, :8], 68.95e9
    loads = np.zeros((8, 2))
    loads[[3, 7], 0] = -445e3 * rng.uniform(0.6, 1.3, 2)
    loads[[1, 5, 0], 1] = 300e3 * rng.uniform(-1, 0.3, 3)

    def loss(p):
        area = np.array(p) * 1e-4
        moved = np.linalg.solve(stretch.T @ (stretch * (young * area / length)[:, None]), loads)
        stress = young * (stretch @ moved) / length[:, None]
        over = [math.log(max(float(np.abs(v).max()) / most, 1.0)) for v, most in ((stress, 172.4e6), (moved, 0.0508))]
        return float(2768.0 * (area @ length)) / 1e3 + 15.0 * sum(over)

    return [(0.6, 1500, "log")] * 10, loss


def array(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """Nine spacings, in wavelengths, of a symmetric array of twenty antennas: the lowest side lobe.

    Array factor with unequal feeds (Balanis, Antenna Theory). Loss: the highest side lobe over the main one, in dB
    above -40, and 20 dB a unit of beam too wide. A maximum of many lobes: kinks and many local optima.
    """
    feed = rng.uniform(0.6, 1.0, 10)
    steer, beam = rng.uniform(0.0, 0.5), rng.uniform(0.09, 0.12)
    sines = np.linspace(-1, 1, 241) - steer
    outside, edge = sines[np.abs(sines) > beam] * 2 * np.pi, 2 * np.pi * beam / 2
    first = rng.uniform(0.2, 0.35)

    def loss(p):
        x = np.cumsum([first, *p])
        lobes = np.abs(feed @ np.cos(x[:, None] * outside)) / feed.sum()
        half = abs(float(feed @ np.cos(x * edge))) / feed.sum()
        return 40.0 + 20.0 * math.log10(max(lobes.max(), 1e-4)) + 20.0 * max(half - 0.5, 0.0)

    return [(0.15, 1.1)] * 9, loss


def epidemic(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """Three closures, each with start, length and strength, against an epidemic until the vaccine comes.

    Susceptible, exposed, infectious, removed (Kermack & McKendrick 1927), contacts that change with the season. Loss,
    in percent of a year's product: illness, more beyond the hospitals' capacity, and the closures, convex in strength.
    """
    dt, n = 1.0, 320
    t = np.arange(n) * dt
    season = np.cos(2 * np.pi * (t - rng.uniform(0, 365)) / 365)
    base = rng.uniform(2.0, 3.2) / 6.0 * (1 + rng.uniform(0.1, 0.25) * season)  # infections a day
    vaccine, beds = rng.uniform(200, 260), rng.uniform(0.004, 0.012)
    sigma, gamma, price = 1 / rng.uniform(3, 5), 1 / 6.0, rng.uniform(0.1, 0.25)
    jabs = np.where(t > vaccine, 0.012, 0.0).tolist()

    def loss(p):
        shut = np.zeros(n)
        for start, length, strength in zip(p[:3], p[3:6], p[6:], strict=True):
            ramp = np.clip(np.minimum(t - start, start + length - t) / 7.0, 0, 1)  # a week to close, a week to open
            shut = shut + (1.0 - shut) * strength * ramp
        s, e, i, ill = 0.9999, 5e-5, 5e-5, 0.0
        for rate, jab in zip((base * (1 - shut)).tolist(), jabs, strict=True):
            new = min(rate * s * i, 0.9 * s)
            s, e, i = s - new - jab * s, e + new - sigma * e, i + sigma * e - gamma * i
            ill += new + 0.5 * max(i - beds, 0.0)
        return 10.0 * ill + price * float((shut**1.5).sum())

    return [(0, 250)] * 3 + [(5, 120)] * 3 + [(0, 0.95)] * 3, loss


def arm(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """A planar robot with three joints goes around discs: three via points of a cubic spline in joint space.

    Loss: lengths of the path in joint space (rad) and at the tip (m), and the mean depth inside discs or past the
    joints' limits. Ways around on either side of each disc are local optima.
    """
    links, n = np.array([1.0, 0.8, 0.6]) * rng.uniform(0.8, 1.2, 3), 41
    start, goal = rng.uniform(-2.2, -0.8), rng.uniform(0.8, 2.2)
    ends = np.array([[start, *rng.uniform(-0.8, 0.8, 2)], [goal, *rng.uniform(-0.8, 0.8, 2)]])
    spline = CubicSpline(np.linspace(0, 1, 5), np.eye(5), bc_type="natural")(np.linspace(0, 1, n))
    shares = np.linspace(0.25, 1, 4)

    def body(q):
        angle = np.cumsum(q, axis=1)
        bone = links[None, :, None] * np.stack([np.cos(angle), np.sin(angle)], axis=2)
        joint = np.cumsum(bone, axis=1)
        return ((joint - bone)[:, :, None] + shares[:, None] * bone[:, :, None]).reshape(len(q), -1, 2)

    discs, standing = [], body(ends).reshape(-1, 2)
    while len(discs) < 5:
        far, way, radius = rng.uniform(0.7, 2.2), rng.uniform(-2.0, 2.0), rng.uniform(0.12, 0.3)
        middle = far * np.array([np.cos(way), np.sin(way)])
        if np.linalg.norm(standing - middle, axis=1).min() > radius + 0.08:
            discs.append([*middle, radius])
    discs = np.array(discs)

    def loss(p):
        q = spline @ np.vstack([ends[:1], np.reshape(p, (3, 3)), ends[1:]])
        points = body(q)
        away = np.sqrt(((points[:, :, None] - discs[:, :2]) ** 2).sum(axis=3))
        depth = np.maximum(discs[:, 2] + 0.03 - away, 0).sum() / n
        beyond = np.maximum(np.abs(q[:, 1:]) - 2.6, 0).sum() / n
        turned = np.abs(np.diff(q, axis=0)).sum()
        travelled = np.linalg.norm(np.diff(points[:, -1], axis=0), axis=1).sum()
        return float(turned + travelled + 60.0 * depth + 10.0 * beyond)

    return [(-2.8, 2.8), (-2.6, 2.6), (-2.6, 2.6)] * 3, loss


def ascent(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """A rocket of two stages is steered by five pitch angles, a coast and the time of its second burn.

    Point mass, central gravity, exponential atmosphere (Curtis, Orbital Mechanics for Engineering Students). Loss: how
    far the end is from the circular orbit wanted, in units of 20 km, 150 m/s and 2°, and the propellant burned.
    """
    mu, radius = 3.986e14, 6.371e6
    wanted = rng.uniform(180e3, 320e3)
    first, second = rng.uniform(100, 125), rng.uniform(22, 30)  # t at ignition of each stage, the first with the second
    burn1, thrust1, speed1 = rng.uniform(124, 136), rng.uniform(1.5, 1.8) * 9.81, 2900.0  # s, m/s² at ignition, m/s
    thrust2, speed2, drag = rng.uniform(0.95, 1.1) * 9.81, 3500.0, rng.uniform(0.6e-4, 1.4e-4)  # drag: m²/kg at start
    knots = [0.0, 0.15, 0.35, 0.65, 1.0]

    def loss(p):
        *pitch, coast, burn2 = p
        x, y, u, v, total, burned = 0.0, radius, 0.0, 5.0, burn1 + burn2, 0.0
        # The number of steps is fixed, not their length, so that the end is a smooth function of the durations. Masses
        # are shares of a stage's own; the second stage has a quarter of the first one's cross-section.
        parts = (
            (burn1, 70, thrust1, speed1, drag),
            (coast, 15, 0.0, 1.0, drag * first / second / 4),
            (burn2, 90, thrust2, speed2, drag * first / second / 4),
        )
        for duration, n, push, exhaust, area in parts:
            mass, dt = 1.0, duration / n
            angles = np.interp((burned + np.arange(n) * (dt if push else 0.0)) / total, knots, pitch).tolist()
            for angle in angles:
                r = math.sqrt(x * x + y * y)
                a = push / max(mass, 0.1)
                air = 0.6 * math.exp(-max(r - radius, -2e4) / 8000.0) * area / max(mass, 0.1) * math.sqrt(u * u + v * v)
                up, pull = math.radians(angle), mu / (r * r * r)
                sine, cosine = math.sin(up), math.cos(up)
                east, high = (y / r, -x / r), (x / r, y / r)
                u += dt * (a * (cosine * east[0] + sine * high[0]) - pull * x - air * u)
                v += dt * (a * (cosine * east[1] + sine * high[1]) - pull * y - air * v)
                x, y = x + dt * u, y + dt * v
                mass -= dt * push / exhaust
            burned += duration if push else 0.0
        r, fast = math.sqrt(x * x + y * y), math.sqrt(u * u + v * v)
        climb = math.degrees(math.asin(max(-1.0, min(1.0, (x * u + y * v) / (r * fast)))))
        miss = ((r - radius - wanted) / 2e4, (fast - math.sqrt(mu / (radius + wanted))) / 150.0, climb / 2.0)
        return math.sqrt(sum(m * m for m in miss) + 1e-4) + burn2 / 500.0

    return [(60, 90), (25, 85), (0, 70), (-15, 50), (-25, 30), (0, 120), (220, 340)], loss


def battery(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """A cell is charged from 10 % to 80 %: six currents over its charge, and the coolant's temperature.

    An equivalent circuit with one RC pair and one thermal mass (Perez et al. 2017); the current falls where the voltage
    would pass 4.2 V. Loss: hours, wear by heat (Arrhenius) and by plating when cold and fast, cooling.
    """
    dt, n = 20.0, 360
    capacity, r0, r1 = rng.uniform(2.2, 3.2) * 3600, rng.uniform(0.015, 0.03), rng.uniform(0.01, 0.025)  # A s, Ω, Ω
    tau, mass, leak, air = rng.uniform(20, 60), rng.uniform(60, 90), rng.uniform(0.1, 0.25), rng.uniform(285, 303)
    weight, limit = rng.uniform(0.3, 1.0), rng.uniform(312, 320)  # K
    fade = 1.0 - math.exp(-dt / tau)

    def loss(p):
        *currents, coolant = p
        charge, t, v1, wear = 0.1, air, 0.0, 0.0
        for k in range(n):
            place = (charge - 0.1) / 0.14
            j = min(int(place), 4)
            rate = currents[j] + (place - j) * (currents[j + 1] - currents[j])  # in capacities an hour
            resistance = r0 * math.exp(1500.0 * (1.0 / t - 1.0 / 298.0)) * (1.0 + 2.0 * (charge - 0.5) ** 2)
            rest = 3.2 + 0.9 * charge + 0.25 * math.tanh(12.0 * (charge - 0.05)) - 0.25 * math.exp(-30.0 * charge)
            most = max((4.2 - rest - v1) / resistance, 0.02 * capacity / 3600.0)
            amperes = min(rate * capacity / 3600.0, most)
            before, charge = charge, charge + dt * amperes / capacity
            v1 += fade * (r1 * amperes - v1)
            t += dt * (amperes * (amperes * resistance + v1) - leak * (t - coolant)) / mass
            t = min(t, 400.0)
            c = amperes * 3600.0 / capacity
            plating = max(c - 1.6 * math.exp(0.03 * (t - 298.0)) * (1.15 - charge), 0.0)
            wear += dt / 3600.0 * (c * math.exp(min(4000.0 * (1.0 / 298.0 - 1.0 / t), 8.0)) + 6.0 * plating**2)
            wear += dt / 3600.0 * 2.0 * max(t - limit, 0.0)
            if charge >= 0.8:
                hours = (k + (0.8 - before) / (charge - before)) * dt / 3600.0
                break
        else:
            hours = n * dt / 3600.0 * (1.0 + 2.0 * (0.8 - charge))
        return hours + weight * wear + 2e-4 * (coolant - air) ** 2

    return [(0.2, 4.5)] * 6 + [(278, 308)], loss


def farm(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """Where six wind turbines stand, each in its parcel (rotor diameters), so that few stand in another's wake.

    Wakes of Jensen (1983) and Katić et al. (1986), a random wind rose. Loss: percent of the energy lost, and a penalty
    for less than three diameters between two. Wakes have edges, so the loss has jumps in its slope, and many optima.
    """
    ways = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    often = rng.gamma(0.7, 1.0, 18)
    often /= often.sum()
    speed, spread = rng.uniform(8, 11, 18), rng.uniform(0.04, 0.075)
    turn = np.stack([np.cos(ways), np.sin(ways)]), np.stack([-np.sin(ways), np.cos(ways)])
    energy = float(often @ np.minimum(speed, 12.0) ** 3)

    def loss(p):
        at = np.reshape(p, (6, 2))
        gap = at[:, None] - at[None]
        down, side = gap @ turn[0], np.abs(gap @ turn[1])  # [of, behind, direction]
        width = 0.5 + spread * np.maximum(down, 0.0)
        covered = np.clip(width + 0.5 - side, 0.0, 1.0) * np.clip(4.0 * down, 0.0, 1.0)
        deficit = np.sqrt(((covered * (1 - math.sqrt(1 - 0.8)) * (0.5 / width) ** 2) ** 2).sum(axis=1))
        power = np.minimum(speed * np.maximum(1 - deficit, 0.0), 12.0) ** 3
        near = np.sqrt((gap**2).sum(axis=2))[np.triu_indices(6, 1)]
        return float(100.0 * (1.0 - power.mean(axis=0) @ often / energy) + 2.0 * np.maximum(3.0 - near, 0.0).sum())

    parcels = np.array([(x, y) for x in (0, 4, 8) for y in (0, 4)]) + rng.uniform(-1, 1, (6, 2))
    return [(float(c), float(c) + 6.0) for c in parcels.ravel()], loss


def damper(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """Frequency ratio and damping of a tuned mass on a structure of two modes: the lowest resonance.

    Den Hartog (Mechanical Vibrations), with a second mode and a stiffness that is known to ±5 % only. Loss: the largest
    amplification over frequency and stiffness: a minimax, with a kink at its optimum.
    """
    w = np.linspace(0.5, 2.2, 120)[:, None] * np.ones(3)
    stiff, mu, zeta = np.array([0.95, 1.0, 1.05]), rng.uniform(0.01, 0.06), rng.uniform(0.003, 0.02)
    second, share = rng.uniform(1.25, 1.7), rng.uniform(0.2, 0.7)

    def loss(p):
        ratio, damping = p
        own = ratio**2 + 2j * damping * ratio * w
        carried = mu * w**2 * own / (own - w**2)
        compliance = 1 / (stiff - w**2 + 2j * zeta * w)
        compliance = compliance + share**2 / (second**2 * stiff - w**2 + 2j * zeta * second * w)
        return float(np.abs(compliance / (1 - carried * compliance)).max())

    return [(0.6, 1.8), (0.005, 1.0, "log")], loss


def fin(rng: np.random.Generator) -> tuple[Ranges, Loss]:
    """Fins on a hot plate in still air: thickness at base and tip, height, gap between fins (mm).

    Conduction by finite differences; film coefficient between plates of Bar-Cohen & Rohsenow (1984). Loss: what a plate
    of 0.2 m costs in material and height for every watt that it sheds. Smooth, with curved valleys.
    """
    warm, conduct, cells = rng.uniform(30, 70), rng.uniform(10, 60), 50  # K above air, W/m/K
    side, dear, tall = 0.2, rng.uniform(0.3, 1.5), rng.uniform(0.5, 3.0)

    def loss(p):
        base, tip, height, gap = (1e-3 * v for v in p)
        rayleigh = 9.81 * warm * gap**4 / (300.0 * 1.6e-5 * 2.2e-5 * side)
        film = 0.026 / gap / math.sqrt(576.0 / rayleigh**2 + 2.87 / math.sqrt(rayleigh))
        dx = height / cells
        edge = base + (tip - base) * np.arange(cells + 1) / cells
        link = conduct * edge / dx
        link[0] *= 2.0
        lost = np.full(cells, 2.0 * film * dx)
        lost[-1] += film * tip
        bands = np.zeros((3, cells))
        bands[0, 1:] = bands[2, :-1] = -link[1:-1]
        bands[1] = link[:-1] + np.append(link[1:-1], 0.0) + lost
        right = np.zeros(cells)
        right[0] = link[0] * warm
        theta = solve_banded((1, 1), bands, right, check_finite=False)
        number = side / (max(base, tip) + gap)
        heat = number * side * (float(lost @ theta) + film * gap * warm)
        mass = 2700.0 * number * side * height * (base + tip) / 2
        return (1.0 + dear * mass + 20.0 * tall * height) * 10.0 / max(heat, 1e-3)

    return [(0.1, 10, "log"), (0.05, 10, "log"), (5, 300, "log"), (1, 40, "log")], loss


TASKS = {
    f.__name__: f for f in (servo, cartpole, reactor, suspension, pumps, inventory, truss, array, epidemic, arm,
                             ascent, battery, farm, damper, fin)
}  # fmt: skip
