"""Five views of one digit, beside MMVAE+ (Palumbo et al. 2023) and MoPoE (Sutter et al. 2021)."""
