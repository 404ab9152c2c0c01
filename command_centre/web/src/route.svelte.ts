/** Where the page stands: its path below the view, kept in the address so that a reload or a link finds it again. */

class Route {
  /** Path without a trailing slash, "/" at the root. */
  path = $state(plain(window.location.pathname));
  /** Without the question mark. */
  query = $state(window.location.search.slice(1));

  constructor() {
    window.addEventListener("popstate", () => {
      this.read();
    });
  }

  /** Parts after the view's own name: ["incidents", "17"] at /desk/incidents/17. */
  get rest(): readonly string[] {
    return this.path.split("/").slice(2).map(decodeURIComponent);
  }

  /** Goes to `address` (path and query) without loading the page anew; `replace` leaves no step back. */
  go(address: string, replace = false): void {
    if (replace) window.history.replaceState(null, "", address);
    else window.history.pushState(null, "", address);
    this.read();
  }

  private read(): void {
    this.path = plain(window.location.pathname);
    this.query = window.location.search.slice(1);
  }
}

function plain(path: string): string {
  return path.replace(/\/+$/, "") || "/";
}

export const route = new Route();

/** For `onclick` of a link inside the same view: a plain click stays on the page, one with a modifier opens a tab. */
export function follow(event: MouseEvent): void {
  const link = event.currentTarget as HTMLAnchorElement;
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  route.go(link.pathname + link.search);
}
