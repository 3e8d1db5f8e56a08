# ruff: noqa: RUF001
"""Invented names of artists, albums and tracks in several scripts, for `fake_library`.

Words are a core of common ones and many made of syllables, drawn by Zipf's law as words of titles are: "love" and "night" are
everywhere, most words are rare. Nothing is taken from a real catalogue.
"""

import numpy as np

#: Shares of artists by script. Latin with accents stands apart, because a search has to find it without them.
SCRIPTS = {"latin": 0.70, "accents": 0.13, "cyrillic": 0.06, "japanese": 0.05, "chinese": 0.02, "korean": 0.01, "arabic": 0.03}
#: Between the words of a name.
_GLUE = {"japanese": "", "chinese": ""}

_CORE = {
    "latin": "the love night you me my in of on a to and fire heart time dream light blue day life world dance rain summer sun "
    "moon baby girl black white city river road home star gold sky dark soul magic lost free wild last first back again "
    "never always over under high low deep slow fast one two feel house party king queen angel devil stone water wind ghost "
    "machine radio signal motion echo silver shadow mirror paper glass train street ocean winter morning midnight electric",
    "accents": "été nuit cœur déjà rêve forêt même où café ángel corazón canción mañana señor niño sueño más está über "
    "für schön grün straße könig mädchen träume größe são coração você não saudade ação você år på själ över två ljós stjörnu "
    "þú það łódź świat noc żal śnieg dzień ještě život měsíc kůň",
    "cyrillic": "ночь любовь сердце город река звезда дождь огонь весна море мой ты мы свет тень дорога зима лето снег ветер дом "
    "песня танец время жизнь мечта утро вечер небо поезд",
    "japanese": "夜 愛 花 夢 空 海 星 風 光 雨 月 歌 心 春 夏 秋 冬 東京 真夜中 さくら ひかり こころ ありがとう "
    "さよなら メロディー ラブ ドリーム ダンス 世界 永遠 君 僕 涙 色 音 電車 時計 未来",
    "chinese": "月亮 爱 夜晚 梦 心 风 雨 雪 花 海 天空 城市 时间 故事 温柔 自由 远方 秋天 北京 上海 光 影子 再见 回忆 孤独",
    "korean": "사랑 밤 꿈 별 하늘 바다 비 바람 봄 여름 마음 노래 너 나 우리 시간 눈물 서울 달 빛",
    "arabic": "حب ليل قلب قمر شمس بحر مطر حلم نور روح يا حبيبي أنت مدينة طريق نجوم صباح غريب عيون سلام",
}
_SYLLABLES = {
    "latin": "ka lo mi ra ne to sa vi ber dan el fin gra ho in jo kel lu mar nor ol pa qui ros sten tri ul wes xa zen".split(),
    "accents": "é lá mö ñu çe ô bér trü sån vø kří łu žá dê pão ció má né sé lü grö wę ný".split(),
    "cyrillic": "ка ло ми ра не то са ви бер дан ель фин гра хо ин жо мар нор ста три ул ван зе ши ще".split(),
    "japanese": "か き く け こ さ し す せ そ た ち つ て と な に ぬ ね の は ひ ま み む め も や ゆ よ ら る".split(),
    "chinese": "山 水 火 木 金 土 云 石 田 林 江 河 湖 龙 凤 马 鸟 鱼 竹 松 梅 兰 菊 荷 玉".split(),
    "korean": "가 나 다 라 마 바 사 아 자 차 카 타 파 하 고 노 도 로 모 보 소 오 조 구 누 두 루 무".split(),
    "arabic": "با تا جا دا را سا شا فا قا كا لا ما نا ها وا يا بي تي دي ري سي لي مي ني".split(),
}


class Names:
    """A source of names.

    Parameters
    ----------
    random : numpy.random.Generator
        Where chance comes from; the same generator gives the same names.
    words : int
        Size of the vocabulary of the Latin script; the others have a quarter.
    """

    def __init__(self, random: np.random.Generator, words: int = 20_000) -> None:
        self._random = random
        self._words = {script: self._vocabulary(script, words if script == "latin" else words // 4) for script in SCRIPTS}
        self._shares = {script: _zipf(len(found), 0.95) for script, found in self._words.items()}

    def _vocabulary(self, script: str, size: int) -> list[str]:
        known = dict.fromkeys(_CORE[script].split())
        syllables = _SYLLABLES[script] + (_SYLLABLES["latin"] if script == "accents" else [])
        while len(known) < size:
            for count in self._random.integers(2, 5, size):
                known["".join(syllables[i] for i in self._random.integers(0, len(syllables), count))] = None
        return list(known)[:size]

    def make(self, scripts: list[str], low: int, high: int) -> list[str]:
        """Return a name of `low` to `high` words for each of these scripts."""
        counts = self._random.integers(low, high + 1, len(scripts))
        chosen = np.array(scripts)
        made = [""] * len(scripts)
        for script in SCRIPTS:
            places = np.flatnonzero(chosen == script)
            words = self._words[script]
            drawn = iter(self._random.choice(len(words), int(counts[places].sum()), p=self._shares[script]).tolist())
            glue, title = _GLUE.get(script, " "), script in ("latin", "accents", "cyrillic")
            for place in places.tolist():
                parts = [words[next(drawn)] for _ in range(counts[place])]
                name = glue.join(parts)
                made[place] = name.title() if title else name
        return made


def zipf_choice(
    random: np.random.Generator, among: int, size: int, exponent: float = 0.65
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return numbers below `among`, small ones often and large ones seldom."""
    return np.asarray(random.choice(among, size, p=_zipf(among, exponent)), dtype=np.int64)


def _zipf(count: int, exponent: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    weights = 1.0 / np.arange(1, count + 1) ** exponent
    return np.asarray(weights / weights.sum())
