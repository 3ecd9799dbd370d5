// What a decoder does beside its matrices: norms, rotations, attention, and what is between the
// matrices of an MLP. Plain loops over rows of floats, which the compiler turns into vectors.
#pragma once

#include <cmath>
#include <limits>

#include "products.h"

namespace unison {

struct BFloat16 {
  uint16_t bits;
};

inline float widened(float x) { return x; }
inline float widened(BFloat16 x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  return loaded<float>(&bits);
}
inline void narrow(float x, float* out) { *out = x; }
inline void narrow(float x, BFloat16* out) {  // to the nearest, and of two as near to the even one
  const uint32_t bits = loaded<uint32_t>(&x);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  out->bits = uint16_t(x == x ? rounded : bits >> 16 | 0x40);
}

// exp(x), within 2e-7 of it; 0 below what a normal float32 holds, and above 88 no more than there. As
// 2^n exp(r), r within half of log 2 around 0, by the Taylor series: loops over a function of the
// library are no vectors'.
inline float exp_of(float x) {
  constexpr float ROUND = 12582912.0f;  // 1.5 * 2^23: adding it leaves no binary places
  const float high = x > 88.0f ? 88.0f : x, y = high < -87.0f ? -87.0f : high;
  const float n = (y * 1.44269504f + ROUND) - ROUND;
  const float r = (y - n * 0.693359375f) + n * 2.12194440e-4f;  // log 2 in two parts
  float series = 1.0f / 5040;
  series = series * r + 1.0f / 720;
  series = series * r + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  series = (series * r + 1.0f) * r + 1.0f;
  const int32_t power = (int32_t(n) + 127) << 23;
  return x < -87.0f ? 0.0f : series * loaded<float>(&power);
}

enum NormKind : int32_t { NO_NORM, RMS, LAYER };

struct Norm {
  const float* gain;  // or null
  const float* bias;  // or null
  float eps;
  int32_t kind;
};

inline void normalise(const Norm& norm, const float* x, int64_t width, float* out) {
  float sum = 0, squares = 0;
  if (norm.kind == LAYER)
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++) sum += x[i];
  const float mean = sum / float(width);
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < width; i++) squares += (x[i] - mean) * (x[i] - mean);
  const float scale = 1.0f / std::sqrt(squares / float(width) + norm.eps);
  for (int64_t i = 0; i < width; i++) {
    const float y = (x[i] - mean) * scale;
    out[i] = (norm.gain ? y * norm.gain[i] : y) + (norm.bias ? norm.bias[i] : 0.0f);
  }
}

// Turn channel pairs (i, i + width / 2), as Rotation in text/attention.py does.
inline void rotate(float* x, int64_t width, const float* cos, const float* sin) {
  float *left = x, *right = x + width / 2;
#pragma omp simd
  for (int64_t i = 0; i < width / 2; i++) {
    const float a = left[i], b = right[i];
    left[i] = a * cos[i] - b * sin[i];
    right[i] = a * sin[i] + b * cos[i];
  }
}

enum MLPKind : int32_t { RELU2, SWIGLU, GELU };

// Of one row: what comes out of the first matrix becomes what goes into the second, in place.
inline void activate(int32_t kind, float* x, int64_t hidden) {
  switch (kind) {
    case RELU2:
      for (int64_t i = 0; i < hidden; i++) x[i] = x[i] > 0 ? x[i] * x[i] : 0.0f;
      break;
    case SWIGLU: {
      const float* values = x + hidden;
#pragma omp simd
      for (int64_t i = 0; i < hidden; i++) x[i] = x[i] / (1.0f + exp_of(-x[i])) * values[i];
      break;
    }
    default:  // GELU in the form of GPT-2; (1 + tanh(y)) / 2 is the sigmoid of 2 y
#pragma omp simd
      for (int64_t i = 0; i < hidden; i++) {
        const float y = 1.595769122f * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
        x[i] = x[i] / (1.0f + exp_of(-y));
      }
  }
}

// Where a row's query looks: the prefix, no padding, and everything after it.
struct Seen {
  int64_t length, prefix, padding;
  bool operator()(int64_t slot) const { return slot < prefix || slot >= prefix + padding; }
};

// Turn scores, scaled, into weights that sum to one; those of slots not seen are 0.
inline void softmax(float* scores, float scale, const Seen& seen) {
  float most = -std::numeric_limits<float>::infinity(), sum = 0;
  if (seen.padding)
    for (int64_t l = 0; l < seen.length; l++)
      if (!seen(l)) scores[l] = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : most)
  for (int64_t l = 0; l < seen.length; l++) most = std::max(most, scores[l]);
#pragma omp simd reduction(+ : sum)
  for (int64_t l = 0; l < seen.length; l++) sum += scores[l] = exp_of((scores[l] - most) * scale);
  for (int64_t l = 0; l < seen.length; l++) scores[l] /= sum;
}

// Vectors of channels. Of two-byte numbers one vector of words holds the even and the odd channels of
// twice as many, which are taken apart by `widened` (products.h) and stay apart in sums.
template <class C>
struct Channels {
  static constexpr Type TYPE = sizeof(C) == 2 ? BFLOAT16 : FLOAT32;
  static constexpr int N = A_WORD[TYPE], SPAN = N * LANES;
  static Floats part(const C* from, int k) { return widened<TYPE>(loaded<Words>(from), k); }
  static int at(int lane, int k) { return lane * N + k; }
};

inline float total(const Floats& x) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < LANES; i++) sum += x[i];
  return sum;
}

// Products of a query with the keys [length, width] of all slots.
template <class C>
void compare(const float* query, const C* keys, int64_t length, int64_t width, float* scores) {
  using Span = Channels<C>;
  constexpr int MOST = 16;  // vectors of a query that are kept; wider heads end in the plain loop
  const int64_t spans = std::min<int64_t>(width / Span::SPAN, MOST / Span::N);
  Floats q[MOST];
  for (int64_t s = 0; s < spans; s++)
    for (int k = 0; k < Span::N; k++)
      for (int l = 0; l < LANES; l++)
        q[s * Span::N + k][l] = query[s * Span::SPAN + Span::at(l, k)];
  for (int64_t l = 0; l < length; l++) {
    const C* key = keys + l * width;
    Floats sums = {};
    for (int64_t s = 0; s < spans; s++) {
      fetch(key + s * Span::SPAN);
      for (int k = 0; k < Span::N; k++)
        sums += q[s * Span::N + k] * Span::part(key + s * Span::SPAN, k);
    }
    float sum = total(sums);
    for (int64_t i = spans * Span::SPAN; i < width; i++) sum += query[i] * widened(key[i]);
    scores[l] = sum;
  }
}

// Sums of values over slots, for V spans of channels, which stay in registers.
template <int V, class C>
void weigh(const float* weights, const C* values, int64_t length, int64_t width, float* out) {
  using Span = Channels<C>;
  Floats sums[V][Span::N] = {};
  for (int64_t l = 0; l < length; l++)
    for (int v = 0; v < V; v++) {
      const C* value = values + l * width + v * Span::SPAN;
      fetch(value);
      for (int k = 0; k < Span::N; k++) sums[v][k] += weights[l] * Span::part(value, k);
    }
  for (int v = 0; v < V; v++)
    for (int k = 0; k < Span::N; k++)
      for (int l = 0; l < LANES; l++) out[v * Span::SPAN + Span::at(l, k)] = sums[v][k][l];
}

// One query's mean of values. Keys and values [length, width]; `scores` is room for `length` floats.
template <class C>
void attend(const float* query, const C* keys, const C* values, int64_t width, const Seen& seen,
            float* scores, float* out) {
  compare(query, keys, seen.length, width, scores);
  softmax(scores, 1.0f / std::sqrt(float(width)), seen);
  constexpr int SPAN = Channels<C>::SPAN;
  int64_t i = 0;
  for (; i + 4 * SPAN <= width; i += 4 * SPAN)
    weigh<4>(scores, values + i, seen.length, width, out + i);
  for (; i + 2 * SPAN <= width; i += 2 * SPAN)
    weigh<2>(scores, values + i, seen.length, width, out + i);
  for (; i + SPAN <= width; i += SPAN) weigh<1>(scores, values + i, seen.length, width, out + i);
  for (; i < width; i++) {
    out[i] = 0;
    for (int64_t l = 0; l < seen.length; l++) out[i] += scores[l] * widened(values[l * width + i]);
  }
}

}  // namespace unison
