//! What this processor has to hash messages side by side with.

#[cfg(test)]
use super::hashing::Width;
use super::lanes::{Compress, Runs};
#[cfg(target_arch = "aarch64")]
pub(super) use super::sha_aarch64::Sha2 as Two;
#[cfg(target_arch = "x86_64")]
pub(super) use super::sha_avx512::Avx512 as Sixteen;
#[cfg(target_arch = "x86_64")]
pub(super) use super::sha_ni::ShaNi as Two;
use super::sha256::State;
#[cfg(target_arch = "x86_64")]
use super::{sha_avx2::Avx2, sha_avx512vl::Avx512Vl};

/// Instructions, each a proof that the processor has them. Where one is left out, it is as on a processor without them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub(super) two: Option<Two>,
    pub(super) eight: Option<Eight>,
    pub(super) sixteen: Option<Sixteen>,
}

impl Machine {
    /// All that is here, the faster of two ways to hash as many messages at once.
    pub(super) fn here() -> Machine {
        Machine { two: Two::detect(), eight: Eight::detect().next(), sixteen: Sixteen::detect() }
    }

    /// Whether it can do that.
    #[cfg(test)]
    pub(super) fn has(self, width: Width) -> bool {
        match width {
            Width::One => true,
            Width::Pairs => self.two.is_some(),
            Width::Lanes8 => self.eight.is_some(),
            Width::Lanes16 => self.sixteen.is_some(),
        }
    }
}

/// How eight lanes are compressed.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(super) enum Eight {
    Avx512Vl(Avx512Vl),
    Avx2(Avx2),
}

#[cfg(target_arch = "x86_64")]
impl Eight {
    /// Every way, the faster one first.
    pub(super) fn detect() -> impl Iterator<Item = Eight> {
        let vl = Avx512Vl::detect().map(Eight::Avx512Vl);
        vl.into_iter().chain(Avx2::detect().map(Eight::Avx2))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Eight::Avx512Vl(_) => "AVX-512VL",
            Eight::Avx2(_) => "AVX2",
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Compress<8> for Eight {
    fn compress(self, states: &mut [State; 8], runs: &Runs<'_, 8>, count: usize) {
        match self {
            Eight::Avx512Vl(with) => with.compress(states, runs, count),
            Eight::Avx2(with) => with.compress(states, runs, count),
        }
    }
}

/// No processor of another kind has instructions that we know.
#[cfg(not(target_arch = "x86_64"))]
mod none {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    pub(in super::super) enum Never {}

    impl Never {
        pub(in super::super) fn detect() -> Option<Never> {
            None
        }
    }

    /// As [`Never`], of which there is no way either.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) enum Eight {}

    impl Eight {
        pub(in super::super) fn detect() -> impl Iterator<Item = Eight> {
            std::iter::empty()
        }

        pub(in super::super) fn name(self) -> &'static str {
            match self {}
        }
    }

    impl Compress<8> for Eight {
        fn compress(self, _: &mut [State; 8], _: &Runs<'_, 8>, _: usize) {
            match self {}
        }
    }

    impl<const N: usize> Compress<N> for Never {
        fn compress(self, _: &mut [State; N], _: &Runs<'_, N>, _: usize) {
            match self {}
        }
    }
}
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
pub(super) use none::Never as Two;
#[cfg(not(target_arch = "x86_64"))]
pub(super) use none::{Eight, Never as Sixteen};
