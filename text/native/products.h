// Rows times a matrix of weights, on one CPU: the work of a decoder's step.
//
// Outputs lie in blocks of LANES, as many as a vector holds: [blocks, inputs, LANES]. One pass over
// the inputs reads a block's weights in order, widens them in registers, and adds them up for some
// rows at once. Each sum runs over the inputs from first to last, whatever the number of rows, so a
// row's result is bit for bit the same in any batch and with any threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace unison {

#if defined(__AVX512BW__)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif
constexpr int LANES = BYTES / sizeof(float);
constexpr int64_t GRAIN = 1 << 19;  // products for which a thread of its own pays

// Bytes that are fetched before they are read. Loops that do much with each line of the cache wait
// for the next otherwise: sixteen rows, weights from memory, 6.3 ms and with it 4.1 (LOG.md).
constexpr int64_t AHEAD = 4096;

inline void fetch(const void* from) {
  __builtin_prefetch(static_cast<const char*>(from) + AHEAD);
}

typedef float Floats __attribute__((vector_size(BYTES)));
typedef int32_t Words __attribute__((vector_size(BYTES)));

enum Type : int32_t { FLOAT32, BFLOAT16, INT8 };
// Weights of one output for consecutive inputs that share a word of 32 bits, the first lowest.
constexpr int A_WORD[] = {1, 2, 4};

struct Matrix {
  const void* weights;  // [blocks, inputs / A_WORD[type], LANES] words, filled up with zeros
  const float* steps;   // [blocks, LANES]: what eight-bit weights are multiples of, else null
  const float* bias;    // [blocks, LANES], or null
  int64_t outputs, inputs;
  int32_t type;

  int64_t words() const { return (inputs + A_WORD[type] - 1) / A_WORD[type]; }
  int64_t blocks() const { return (outputs + LANES - 1) / LANES; }
};

template <class V, class T>
V loaded(const T* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

// The k-th weights of some words, of 32 or 16 bits.
template <Type T>
Floats widened(const Words& words, int k) {
  const Words bits = T == FLOAT32 ? words : k == 0 ? words << 16 : words & int32_t(0xffff0000);
  return loaded<Floats>(&bits);
}

// What a row's whole numbers are multiples of: no more than sixteen bits, and no sum overflows.
inline float step_of(const float* x, int64_t inputs) {
  int32_t most = 0;  // magnitudes of floats are ordered as their bits are; NaN comes last
  for (int64_t i = 0; i < inputs; i++)
    most = std::max(most, loaded<int32_t>(x + i) & 0x7fffffff);
  const float largest = std::max(loaded<float>(&most), 1e-30f);
  const int64_t largest_sum = std::numeric_limits<int32_t>::max();
  return largest / float(std::min<int64_t>(32767, largest_sum / (127 * inputs)));
}

// How rows meet weights of a type: what a row's columns hold, and what one of them adds to a sum.
template <Type T>
struct Arithmetic {
  using Sums = Floats;
  using Column = float;
  static constexpr int COLUMNS = A_WORD[T];  // that meet one word
  static Floats weights(const Words& words, int k) { return widened<T>(words, k); }
  static void add(Floats& sums, const Floats& weights, float x) { sums += weights * x; }
  // Write a row as the r-th of its group's columns; returns what its numbers are multiples of.
  static float place(const float* row, int64_t inputs, Column* group, int64_t r, int64_t rows) {
    for (int64_t i = 0; i < inputs; i++) group[i * rows + r] = row[i];
    return 1.0f;
  }
};

// Eight bits meet whole numbers of sixteen, two at a time: a column is a pair of inputs, the first
// and third of a word or the second and fourth. Sums of such products are exact.
template <>
struct Arithmetic<INT8> {
  using Sums = Words;
  using Column = int32_t;
  static constexpr int COLUMNS = 2;
  static Words weights(const Words& words, int k) {
    typedef int16_t Shorts __attribute__((vector_size(BYTES)));
    const Shorts pairs = Shorts(words);
    return Words(k ? pairs >> 8 : Shorts(pairs << 8) >> 8);
  }
  static void add(Words& sums, const Words& weights, int32_t x) {
#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
    sums = Words(_mm512_dpwssd_epi32(__m512i(sums), __m512i(weights), _mm512_set1_epi32(x)));
#elif defined(__AVX512BW__)
    sums += Words(_mm512_madd_epi16(__m512i(weights), _mm512_set1_epi32(x)));
#elif defined(__AVX2__)
    sums += Words(_mm256_madd_epi16(__m256i(weights), _mm256_set1_epi32(x)));
#elif defined(__SSE2__)
    sums += Words(_mm_madd_epi16(__m128i(weights), _mm_set1_epi32(x)));
#else
    sums += (weights << 16 >> 16) * int32_t(int16_t(x)) + (weights >> 16) * (x >> 16);
#endif
  }
  static float place(const float* row, int64_t inputs, Column* group, int64_t r, int64_t rows) {
    const float step = step_of(row, inputs), per = 1.0f / step;
    int16_t* halves = reinterpret_cast<int16_t*>(group);
    if (!std::isfinite(step)) return step;  // all zeros, of which the step makes no numbers
    for (int64_t i = 0; i < inputs; i++) {
      const int64_t pair = i / 4 * 2 + i % 2;  // of its word, and there the first or the second
      halves[(pair * rows + r) * 2 + i % 4 / 2] = int16_t(std::nearbyint(row[i] * per));
    }
    return step;
  }
};

// Rows side by side at most: as many sums as registers hold, 32 or the 16 of AVX2. There weights that
// must be widened had better be so once for eight rows; float32 takes four rows and two blocks.
constexpr int64_t most_rows(int32_t type) {
  constexpr bool few = BYTES == 32;
  return !few ? 16 : type == FLOAT32 ? 4 : 8;
}

// How many of the rows that are left go through a matrix together.
inline int64_t together(int64_t left, int32_t type) {
  int64_t rows = most_rows(type);
  while (rows > left) rows /= 2;
  return rows;
}

// Rows as the matrix meets them.
struct Columns {
  const void* numbers;  // groups of rows that go through together, each [words, COLUMNS, R]
  const float* steps;   // [rows]: what a row's whole numbers are multiples of
};

// Outputs of B blocks for R rows.
template <int B, int R, Type T>
void blocks_of_rows(const Matrix& m, int64_t block, const Columns& x, int64_t row, float* out) {
  using With = Arithmetic<T>;
  const int64_t words = m.words();
  const int32_t* weights = static_cast<const int32_t*>(m.weights) + block * words * LANES;
  const auto* columns =
      static_cast<const typename With::Column*>(x.numbers) + row * words * With::COLUMNS;
  typename With::Sums sums[B][R] = {};
  for (int64_t i = 0; i < words; i++)
    for (int b = 0; b < B; b++) {
      const int32_t* here = weights + (b * words + i) * LANES;
      if (R > 2) fetch(here);
      const Words word = loaded<Words>(here);
      for (int k = 0; k < With::COLUMNS; k++) {
        const auto w = With::weights(word, k);
        for (int r = 0; r < R; r++)
          With::add(sums[b][r], w, columns[(i * With::COLUMNS + k) * R + r]);
      }
    }
  for (int b = 0; b < B; b++) {
    const int64_t first = (block + b) * LANES;
    const size_t bytes = std::min<int64_t>(LANES, m.outputs - first) * sizeof(float);
    for (int r = 0; r < R; r++) {
      Floats sum = __builtin_convertvector(sums[b][r], Floats);
      if (T == INT8) sum *= loaded<Floats>(m.steps + first) * x.steps[row + r];
      if (m.bias) sum += loaded<Floats>(m.bias + first);
      std::memcpy(out + (row + r) * m.outputs + first, &sum, bytes);
    }
  }
}

template <int R, Type T>
void rows_of_blocks(const Matrix& m, int64_t begin, int64_t end, const Columns& x, int64_t row,
                    float* out) {
  constexpr int TOGETHER = R <= 2 ? 4 : R == 4 ? 2 : 1;
  int64_t block = begin;
  for (; block + TOGETHER <= end; block += TOGETHER)
    blocks_of_rows<TOGETHER, R, T>(m, block, x, row, out);
  for (; block < end; block++) blocks_of_rows<1, R, T>(m, block, x, row, out);
}

template <Type T>
void some_blocks(const Matrix& m, int64_t begin, int64_t end, const Columns& x, int64_t rows,
                 float* out) {
  constexpr int64_t STRIP = 4;  // blocks that stay in the cache while all rows pass by
  for (int64_t first = begin; first < end; first += STRIP) {
    const int64_t last = std::min(first + STRIP, end);
    for (int64_t row = 0, count; row < rows; row += count) {
      count = together(rows - row, T);
      switch (count) {
        case 16: rows_of_blocks<16, T>(m, first, last, x, row, out); break;
        case 8: rows_of_blocks<8, T>(m, first, last, x, row, out); break;
        case 4: rows_of_blocks<4, T>(m, first, last, x, row, out); break;
        case 2: rows_of_blocks<2, T>(m, first, last, x, row, out); break;
        default: rows_of_blocks<1, T>(m, first, last, x, row, out);
      }
    }
  }
}

// Write rows [rows, inputs] as columns, one group after another.
template <Type T>
void lay_out(const float* x, int64_t rows, const Matrix& m,
             std::vector<typename Arithmetic<T>::Column>& columns, std::vector<float>& steps) {
  const int64_t length = m.words() * Arithmetic<T>::COLUMNS;
  columns.assign(rows * length, 0);
  steps.resize(rows);
  for (int64_t row = 0, count; row < rows; row += count) {
    count = together(rows - row, T);
    auto* group = columns.data() + row * length;
    for (int64_t r = 0; r < count; r++)
      steps[row + r] = Arithmetic<T>::place(x + (row + r) * m.inputs, m.inputs, group, r, count);
  }
}

template <Type T>
void multiply_as(const Matrix& m, const float* x, int64_t rows, float* out, int64_t threads) {
  // Kept between calls: of a small layer an allocation takes as long as the product.
  thread_local std::vector<typename Arithmetic<T>::Column> kept;
  thread_local std::vector<float> steps;
  const bool as_it_is = rows == 1 && T != INT8 && m.inputs % A_WORD[T] == 0;
  if (!as_it_is) lay_out<T>(x, rows, m, kept, steps);
  const Columns columns{as_it_is ? static_cast<const void*>(x) : kept.data(), steps.data()};
  const int64_t blocks = m.blocks();
  const int64_t parts = std::min({rows * m.inputs * m.outputs / GRAIN + 1, threads, blocks});
#pragma omp parallel for num_threads(int(parts)) if (parts > 1)
  for (int64_t part = 0; part < parts; part++)
    some_blocks<T>(m, blocks * part / parts, blocks * (part + 1) / parts, columns, rows, out);
}

// out [rows, outputs] = x [rows, inputs] times the matrix, plus its bias.
inline void multiply(const Matrix& m, const float* x, int64_t rows, float* out, int64_t threads) {
  switch (m.type) {
    case FLOAT32: return multiply_as<FLOAT32>(m, x, rows, out, threads);
    case BFLOAT16: return multiply_as<BFLOAT16>(m, x, rows, out, threads);
    default: return multiply_as<INT8>(m, x, rows, out, threads);
  }
}

}  // namespace unison
