/** What there is to see when the app is opened for the first time. */
export interface SeedList {
  readonly id: string;
  readonly name: string;
  /** See src/schema.ts. */
  readonly scope: string;
  readonly rank: number;
  readonly todos: readonly (readonly [title: string, done?: boolean])[];
}

/** Lists by the user who made them. */
export const SEEDS: Readonly<Record<string, readonly SeedList[]>> = {
  alice: [
    {
      id: "lake",
      name: "Weekend at the lake",
      scope: "shared",
      rank: 1,
      todos: [
        ["Book the cabin", true],
        ["Check the tyres of both bikes"],
        ["Find the good thermos"],
        ["Ask Carol about the canoe"],
      ],
    },
    {
      id: "house",
      name: "House rules",
      scope: "notice",
      rank: 3,
      todos: [["Bins go out on Thursday"], ["Last one out locks the back door"]],
    },
    { id: "ideas", name: "Ideas", scope: "alice", rank: 4, todos: [["Learn to sail"], ["Write to grandmother"]] },
  ],
  bob: [
    {
      id: "groceries",
      name: "Groceries",
      scope: "shared",
      rank: 2,
      todos: [["Oat milk"], ["Sourdough", true], ["Lemons"], ["Coffee beans, the dark ones"]],
    },
    { id: "garage", name: "Garage", scope: "bob", rank: 5, todos: [["Sharpen the saw"], ["Hang up the ladder"]] },
  ],
};
