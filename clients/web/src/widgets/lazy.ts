/** A view whose code the browser loads when the view is first shown. */
export class Lazy<View> {
  readonly #load: () => Promise<View>;
  #loading: Promise<View> | undefined;
  /** The view, once it is loaded. */
  view: View | undefined;

  constructor(load: () => Promise<View>) {
    this.#load = load;
  }

  /** Raises TypeError if the code cannot be loaded; a later call tries again. */
  async get(): Promise<View> {
    try {
      return (this.view = await (this.#loading ??= this.#load()));
    } catch (error) {
      this.#loading = undefined;
      throw error;
    }
  }
}
