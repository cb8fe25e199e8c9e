export { bucketAfter, bucketOf, versionAt } from "./assign.ts";
export { type HashPrefix, hashPrefix, murmur3 } from "./murmur3.ts";
export { weightOf, weightsOf, wholeAllocation, withWeight, withWeights } from "./slots.ts";
