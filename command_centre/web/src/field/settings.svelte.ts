/** What this telephone prefers. */
import { MAP_APPS, type MapApp } from "./place";

const STORED = "city.field.map";

class MapChoice {
  current = $state<MapApp>(MAP_APPS.find((one) => one === localStorage.getItem(STORED)) ?? "geo");

  use(app: MapApp): void {
    this.current = app;
    localStorage.setItem(STORED, app);
  }
}

export const mapApp = new MapChoice();
