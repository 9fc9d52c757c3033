/** Double descent of least squares on isotropic Gaussian inputs, as samples and parameters grow at a fixed ratio. */

/**
 * Return the two parts of the risk E‖θ̂ − θ*‖²: of the teacher, as without noise, and of the noise that was fitted.
 *
 * ratio    γ = parameters ÷ samples
 * noise    σ, the standard deviation of the label noise
 * ridge    λ of ½n⁻¹‖Xθ − y‖² + ½λ‖θ‖²
 * signal   r = ‖θ*‖
 */
export function riskParts(ratio, noise, ridge = 0, signal = 1) {
  const middle = 1 - ratio + ridge;
  const root = Math.hypot(middle, 2 * Math.sqrt(ratio * ridge));
  if (root === 0) return { teacher: 0, noise: noise > 0 ? Infinity : 0 };
  // u = λ·m(−λ), where m is the Stieltjes transform of the Marchenko–Pastur law; so λ = 0 is no special case.
  const u = middle > 0 ? (2 * ridge) / (middle + root) : (root - middle) / (2 * ratio);
  return { teacher: (signal ** 2 * u * (ratio * u + ridge)) / root, noise: (noise ** 2 * ratio * (1 - u)) / root };
}

/** Return the risk E‖θ̂ − θ*‖². */
export function isotropicRisk(ratio, noise, ridge = 0, signal = 1) {
  const parts = riskParts(ratio, noise, ridge, signal);
  return parts.teacher + parts.noise;
}

/** Return the λ at which the risk is least: σ²γ/r². */
export function tunedRidge(ratio, noise, signal = 1) {
  return (noise ** 2 * ratio) / signal ** 2;
}
