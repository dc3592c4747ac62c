"""Where a jet flies, and where its long-lived particle decayed: what efficiencies are shown against."""

from dataclasses import dataclass, fields

from cal_ratio_trainer.evaluation.sample import FloatArray

BARREL_ETA = 1.4
"""Long-lived particles with |eta| below this count as barrel, the others as endcap."""


@dataclass(frozen=True, eq=False)
class JetKinematics:
    """Quantities of jets; None where a file does not hold them, NaN where one jet's is not known.

    Attributes:
        pt: [jets], GeV, not scaled.
        eta: [jets].
        phi: [jets], rad.
        llp_eta: [jets] of the true long-lived particle of signal jets.
        llp_lxy: [jets] its decay's distance from the beam, mm.
        llp_lz: [jets] its decay's distance from the interaction point along the beam, mm, signed.
    """

    pt: FloatArray | None = None
    eta: FloatArray | None = None
    phi: FloatArray | None = None
    llp_eta: FloatArray | None = None
    llp_lxy: FloatArray | None = None
    llp_lz: FloatArray | None = None

    def fits(self, jets: int) -> bool:
        """True where every array that is there is [jets]."""
        values = (getattr(self, field.name) for field in fields(self))
        return all(column is None or column.shape == (jets,) for column in values)
