//! Where the time of a Program goes, by kind of step.

/// All steps of one kind: of a model's layers, those that do the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfiledStep {
    /// What it is: the op, and the weights that a product reads without the number of their layer (`attn_q+attn_k`).
    pub name: String,
    /// How often such a step ran.
    pub calls: u64,
    /// Nanoseconds it took, from its start to the end of its slowest thread.
    pub nanoseconds: u64,
    /// Multiplications and additions of its products and scores; 0 for a step that is not about them.
    pub operations: u64,
    /// Bytes of weights, or of keys and values, that it reads at least.
    pub bytes: u64,
}

/// What a Program's runs took while it was told to watch itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Batches run.
    pub runs: u64,
    /// Nanoseconds of all of them, from start to end.
    pub nanoseconds: u64,
    /// Kinds of steps in the order in which they first run.
    pub steps: Vec<ProfiledStep>,
    /// Parallel regions: each ends with a barrier, where all threads wait for the slowest.
    pub regions: u64,
    /// Nanoseconds that the calling thread waited at those barriers.
    pub waited: u64,
}
