/** What the centre's routes answer and take, by the names of the API's description; written anew by `make check`. */
import type { components } from "../../types/schema";

export type Shapes = components["schemas"];
