"""The inner loop: a mean field's steps, one at a time, with what each costs.

The cost is the number of density matrices contracted with the two-electron integrals: every (nao, nao) matrix counts
one, those of response functions included. A call with two spins counts two.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import expm

from metaloop.errors import InputError, refuse
from metaloop.online.curvature import Subspace

Array = npt.NDArray[np.float64]
DENSE = 1500  # coordinates up to which the estimate of the Hessian is a full matrix


def need_pyscf() -> Any:
    """PySCF's scf package.

    Raises:
        InputError: it is not installed.
    """
    try:
        from pyscf import scf
    except ImportError:
        raise InputError("self-consistent fields need PySCF: pip install 'metaloop[chemistry]'") from None
    return scf


@dataclass
class Meter:
    """How many density matrices were contracted."""

    count: int = 0


def metered(mf: Any) -> tuple[Any, Meter]:
    """A copy of a mean field that counts the density matrices it contracts."""
    copy, meter = mf.copy(), Meter()
    inner = copy.get_jk

    def get_jk(mol: Any = None, dm: Any = None, *args: Any, **kwargs: Any) -> Any:
        if dm is None:
            dm = copy.make_rdm1()
        shape = np.shape(dm)
        meter.count += int(np.prod(shape[:-2]))
        return inner(mol, dm, *args, **kwargs)

    copy.get_jk = get_jk
    return copy, meter


@dataclass(frozen=True)
class Point:
    """A Slater determinant and all that its one Fock matrix says.

    Attributes:
        mo_coeff, mo_occ, mo_energy, dm, vhf, fock: as in PySCF.
        energy: total, in Hartree.
        residual: norm of the orbital gradient, in Hartree.
    """

    mo_coeff: Any
    mo_occ: Any
    mo_energy: Any
    dm: Any
    vhf: Any
    fock: Any
    energy: float
    residual: float


@dataclass
class Extrapolation:
    """What direct inversion remembers: PySCF's object and the cycles it has seen."""

    diis: Any
    cycle: int = 0


class Field:
    """The steps of one mean field.

    Args:
        mf: RHF, UHF, ROHF, RKS, UKS or ROKS of PySCF, built; it is copied, not changed.

    Raises:
        InputError: something else, or complex orbitals.
    """

    def __init__(self, mf: Any) -> None:
        scf = need_pyscf()
        known = (scf.hf.RHF, scf.rohf.ROHF, scf.uhf.UHF)
        if not isinstance(mf, known) or hasattr(mf, "kpts"):
            raise refuse("mf", mf, "a mean field of PySCF for a molecule: RHF, UHF, ROHF, RKS, UKS or ROKS")
        if not getattr(mf.mol, "_built", False) or mf.mol.nao == 0:
            raise refuse("mf.mol", mf.mol, "a molecule that is built (mol.build())")
        if hasattr(mf, "undo_newton"):
            mf = mf.undo_newton()
        self.mf, self.meter = metered(mf)
        self.mf.verbose = 0
        self.mol = self.mf.mol
        if hasattr(self.mf, "grids"):
            self.mf.build()
        self.core = self.mf.get_hcore()
        self.overlap = self.mf.get_ovlp()
        self.basis = self.mf.check_linear_dependency(self.overlap)
        self.newton = self.mf.newton()
        weights, vectors = np.linalg.eigh(self.overlap)
        self.half = (vectors * np.sqrt(np.maximum(weights, 0.0))) @ vectors.T
        self.monopoles = _monopoles(self.mol)
        self.exchange = 1.0
        if hasattr(self.mf, "xc"):
            self.exchange = float(self.mf._numint.rsh_and_hybrid_coeff(self.mf.xc, self.mol.spin)[2])
        self.spins = 2 if isinstance(mf, scf.uhf.UHF) else 1
        self.forget()

    def forget(self) -> None:
        """Begin the extrapolation anew; whoever kept the old one may put it back."""
        mf = self.mf
        diis = mf.DIIS(mf, mf.diis_file)
        diis.space = mf.diis_space
        diis.rollback = mf.diis_space_rollback
        diis.Corth = self.basis
        self.extrapolation = Extrapolation(diis)

    # --- points ---------------------------------------------------------------------------------------------------

    def guess(self, name: str) -> Any:
        """A density matrix by one of PySCF's guesses; None where it has none for this molecule."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self.mf.get_init_guess(self.mol, name)
        except (RuntimeError, ValueError, KeyError):  # e.g. a minimal basis with fewer orbitals than electrons
            return None

    def start(self, dm: Any = None) -> Point:
        """The guess, and the determinant of its Fock matrix: two Fock matrices."""
        mf = self.mf
        dm = mf.get_init_guess(self.mol, mf.init_guess) if dm is None else dm
        vhf = mf.get_veff(self.mol, dm)
        self.forget()
        return self._diagonalize(dm, vhf, mf.get_fock(self.core, self.overlap, vhf, dm))

    def first(self, at: Point, shift: float = 0.0) -> Point:
        """One step of direct inversion in the iterative subspace: one Fock matrix.

        Args:
            at: where it is.
            shift: of the virtual orbitals, in Hartree: the larger, the shorter the step (Saunders & Hillier 1973).
        """
        kept = self.extrapolation
        fock = self.mf.get_fock(self.core, self.overlap, at.vhf, at.dm, max(kept.cycle, 1), kept.diis, 1, shift)
        kept.cycle += 1
        return self._diagonalize(at.dm, at.vhf, fock)

    def _diagonalize(self, dm: Any, vhf: Any, fock: Any) -> Point:
        mo_energy, mo_coeff = self.mf.eig(fock, self.overlap, x=self.basis)
        mo_occ = self.mf.get_occ(mo_energy, mo_coeff)
        return self.at(mo_coeff, mo_occ, mo_energy, dm, vhf)

    def at(self, mo_coeff: Any, mo_occ: Any, mo_energy: Any, dm_last: Any, vhf_last: Any) -> Point:
        """The determinant of some orbitals: one Fock matrix."""
        mf = self.mf
        dm = mf.make_rdm1(mo_coeff, mo_occ)
        vhf = mf.get_veff(self.mol, dm, dm_last, vhf_last)
        energy = float(mf.energy_tot(dm, self.core, vhf))
        fock = mf.get_fock(self.core, self.overlap, vhf, dm)
        residual = float(np.linalg.norm(mf.get_grad(mo_coeff, mo_occ, fock)))
        return Point(mo_coeff, mo_occ, mo_energy, dm, vhf, fock, energy, residual)

    def apart(self, dm: Any, other: Any) -> float:
        """How many electrons two density matrices have in different orbitals; contracts nothing.

        Each is purified first: its natural orbitals of highest occupation are filled, spin by spin.
        """
        out = 0.0
        for spin, count in enumerate(self.mol.nelec):
            a, b = self._filled(dm, spin, count), self._filled(other, spin, count)
            out += count - float(np.linalg.norm(a.T @ b) ** 2)
        return out

    def _filled(self, dm: Any, spin: int, count: int) -> Array:
        """Occupied orbitals in the orthogonalized basis, shape (nao, count)."""
        dm = np.asarray(dm)
        _, vectors = np.linalg.eigh(self.half @ (dm[spin] if dm.ndim == 3 else dm) @ self.half)
        return np.asarray(vectors[:, len(vectors) - count :])

    # --- rotations ------------------------------------------------------------------------------------------------

    def curvature(self, at: Point) -> tuple[Array, Subspace]:
        """The gradient and an empty subspace of the orbital Hessian; E = E0 + 2 (g @ x + x @ H @ x / 2) + …"""
        gradient, product, diagonal = self.newton.gen_g_hop(at.mo_coeff, at.mo_occ, at.fock)
        allowed = np.abs(diagonal) > 1e-12 if self.mol.symmetry else None
        values, vectors = np.asarray(diagonal, dtype=float), None
        if len(values) <= DENSE:
            values, vectors = np.linalg.eigh(self.model(at))
        return np.asarray(gradient, dtype=float), Subspace(product, values, vectors, allowed)

    def size(self, at: Point) -> int:
        """The number of independent rotations."""
        return sum(int(self._spin(at, spin)[1].sum()) for spin in range(self.spins))

    def model(self, at: Point) -> Array:
        """An estimate of the orbital Hessian, shape (n, n), of which no density matrix has to be contracted.

        All two-electron integrals but the (mm|nn) of orthogonalized atomic orbitals are neglected (zero differential
        overlap, Pople, Santry & Segal 1965), and so is the kernel of a functional.
        """
        restricted = self.spins == 1
        fock = at.fock
        focks = (fock.focka, fock.fockb) if hasattr(fock, "focka") else (fock, fock) if restricted else fock
        coeffs = (at.mo_coeff, at.mo_coeff) if restricted else at.mo_coeff
        occs = (at.mo_occ > 0, at.mo_occ == 2) if restricted else at.mo_occ > 0
        blocks, charges = [], []
        for c, f, occ in zip(coeffs, focks, occs, strict=True):
            c = np.asarray(c)
            f = c.T @ np.asarray(f) @ c
            q = self.half @ c
            o, v = q[:, occ], q[:, ~occ]
            no, nv = o.shape[1], v.shape[1]
            charge = (v[:, :, None] * o[:, None, :]).reshape(len(q), -1)
            block = np.kron(f[~occ][:, ~occ], np.eye(no)) - np.kron(np.eye(nv), f[occ][:, occ])
            if self.exchange:
                direct = np.einsum("ma,mb,mn,ni,nj->aibj", v, v, self.monopoles, o, o, optimize=True)
                crossed = (charge.T @ self.monopoles @ charge).reshape(nv, no, nv, no).transpose(0, 3, 2, 1)
                block -= self.exchange * (direct + crossed).reshape(block.shape)
            blocks.append(block)
            charges.append(charge)
        both = np.hstack(charges)
        out = 2 * both.T @ self.monopoles @ both
        n = len(blocks[0])
        out[:n, :n] += blocks[0]
        out[n:, n:] += blocks[1]
        if restricted:
            pairs = _pairs(np.asarray(at.mo_occ))
            index = np.zeros(pairs.shape, dtype=int)
            index[pairs] = np.arange(pairs.sum())
            chosen = np.concatenate([index[~occ][:, occ].ravel() for occ in occs])
            select = np.eye(int(pairs.sum()))[chosen]
            out = select.T @ out @ select
        return np.asarray(out)

    def rotate(self, at: Point, x: Array) -> Point:
        """The determinant after a rotation of the orbitals: one Fock matrix."""
        u = [expm(matrix) for matrix in self._matrices(at, x)]
        mo_coeff = self.newton.rotate_mo(at.mo_coeff, np.array(u) if self.spins == 2 else u[0])
        new = self.at(mo_coeff, at.mo_occ, at.mo_energy, at.dm, at.vhf)
        # Canonical orbitals cost nothing, and make the diagonal a better guess of the Hessian.
        mo_energy, mo_coeff = self.mf.canonicalize(new.mo_coeff, new.mo_occ, new.fock)
        return replace(new, mo_coeff=mo_coeff, mo_energy=mo_energy)

    def carry(self, x: Array, old: Point, new: Point) -> Array:
        """A rotation at one point as a rotation at another, by way of the atomic orbitals."""
        out = []
        for spin, matrix in enumerate(self._matrices(old, x)):
            over = self._spin(new, spin)[0].T @ self.overlap @ self._spin(old, spin)[0]
            out.append((over @ matrix @ over.T)[self._spin(new, spin)[1]])
        return np.concatenate(out)

    def _matrices(self, at: Point, x: Array) -> list[Array]:
        """A rotation as an antisymmetric matrix for each set of orbitals."""
        out = []
        for spin in range(self.spins):
            pairs = self._spin(at, spin)[1]
            n = int(pairs.sum())
            matrix = np.zeros(pairs.shape)
            matrix[pairs], x = x[:n], x[n:]
            out.append(matrix - matrix.T)
        return out

    def _spin(self, at: Point, spin: int) -> tuple[Array, npt.NDArray[np.bool_]]:
        if self.spins == 2:
            return np.asarray(at.mo_coeff[spin]), _pairs(np.asarray(at.mo_occ[spin]))
        return np.asarray(at.mo_coeff), _pairs(np.asarray(at.mo_occ))

    def down(self, at: Point, verdict: Any) -> Point:
        """Along a way down, found with little: seldom more than two Fock matrices."""
        gradient, _ = self.curvature(at)
        slope, bend = 2 * float(gradient @ verdict.vector), verdict.value
        sign = -1.0 if slope > 0 else 1.0
        length = 0.5
        tried = self.rotate(at, sign * length * verdict.vector)
        quartic = (tried.energy - at.energy + abs(slope) * length - bend * length**2) / length**4
        best = min(np.sqrt(-bend / (2 * quartic)) if quartic > 0 else 1.0, 1.0)
        if not (tried.energy < at.energy and abs(best / length - 1) < 0.4):
            tried = min(tried, self.rotate(at, sign * best * verdict.vector), key=lambda p: p.energy)
        while tried.energy >= at.energy and best > 1e-3:
            best /= 4
            tried = self.rotate(at, sign * best * verdict.vector)
        return tried

    def settle(self, at: Point) -> Any:
        """PySCF's mean field with this result, canonical orbitals."""
        mf = self.mf
        mo_energy, mo_coeff = mf.canonicalize(at.mo_coeff, at.mo_occ, at.fock)
        mf.mo_energy, mf.mo_coeff, mf.mo_occ, mf.e_tot = mo_energy, mo_coeff, at.mo_occ, at.energy
        return mf


def _monopoles(mol: Any) -> Array:
    """The Coulomb repulsion (mm|nn) of all pairs of atomic orbitals, shape (nao, nao)."""
    at = mol.ao_loc_nr()
    out = np.zeros((mol.nao, mol.nao))
    for i in range(mol.nbas):
        for j in range(i + 1):
            block = mol.intor("int2e", shls_slice=(i, i + 1, i, i + 1, j, j + 1, j, j + 1))
            part = np.einsum("iijj->ij", block)
            out[at[i] : at[i + 1], at[j] : at[j + 1]] = part
            out[at[j] : at[j + 1], at[i] : at[i + 1]] = part.T
    return out


def _pairs(occ: Array) -> npt.NDArray[np.bool_]:
    """Which (row, column) orbital pairs a rotation has, in the order of PySCF's vectors; occ is 0, 1 (of 2) or 2."""
    full = occ == 2 if occ.max(initial=0) == 2 else occ > 0
    pairs: npt.NDArray[np.bool_] = ((occ == 0)[:, None] & (occ > 0)) | (~full[:, None] & full)
    return pairs
