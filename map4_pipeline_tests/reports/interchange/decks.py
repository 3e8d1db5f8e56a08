"""Collections as rekordbox and Traktor write them, made by hand."""

#: Four entries: one with everything, one plain, one that is in no library, one streamed.
REKORDBOX = """<?xml version="1.0" encoding="UTF-8"?>

<DJ_PLAYLISTS Version="1.0.0">
  <PRODUCT Name="rekordbox" Version="6.8.5" Company="AlphaTheta"/>
  <COLLECTION Entries="4">
    <TRACK TrackID="1" Name="Under &amp; Over" Artist="Ann" Composer="" Album="First" Grouping="Warm up" Genre="House"
           Kind="MP3 File" Size="9000000" TotalTime="241" DiscNumber="0" TrackNumber="3" Year="2019" AverageBpm="128.00"
           DateAdded="2024-05-06" BitRate="320" SampleRate="44100" Comments="peak &quot;time&quot;" PlayCount="7" Rating="204"
           Location="file://localhost/C:/Music/House/%C3%9Cnder%20&amp;%20Over.mp3" Remixer="" Tonality="Am" Label="Own" Mix="Dub"
           Colour="0xFF0000">
      <TEMPO Inizio="0.025" Bpm="128.00" Metro="4/4" Battito="1"/>
      <TEMPO Inizio="120.025" Bpm="127.50" Metro="4/4" Battito="3"/>
      <POSITION_MARK Name="Drop &lt;1&gt;" Type="0" Start="32.525" Num="0" Red="40" Green="226" Blue="20"/>
      <POSITION_MARK Name="Loop" Type="4" Start="64.025" End="71.525" Num="-1"/>
    </TRACK>
    <TRACK TrackID="2" Name="Plain" Artist="" Composer="" Album="" Grouping="" Genre="" Kind="MP3 File" Size="1000"
           TotalTime="100" DiscNumber="0" TrackNumber="0" Year="0" AverageBpm="0.00" DateAdded="2024-05-07" BitRate="320"
           SampleRate="44100" Comments="" PlayCount="0" Rating="0" Location="file://localhost/C:/music/house/two.mp3"
           Remixer="" Tonality="" Label="" Mix=""/>
    <TRACK TrackID="3" Name="Not here" Artist="Bob" Size="77" TotalTime="200" AverageBpm="99.90" Rating="255" Grouping="x"
           Location="file://localhost/C:/Music/Elsewhere/three.mp3" Tonality="8A">
      <TEMPO Inizio="1.5" Bpm="99.90" Metro="3/4" Battito="2"/>
      <POSITION_MARK Name="" Type="0" Start="5.000" Num="-1"/>
    </TRACK>
    <TRACK TrackID="4" Name="Streamed" Artist="Eve" TotalTime="180" Location="file://localhostsoundcloud:tracks:4711"/>
  </COLLECTION>
  <PLAYLISTS>
    <NODE Type="0" Name="ROOT" Count="2">
      <NODE Name="Gigs" Type="0" Count="2">
        <NODE Name="2025" Type="0" Count="1">
          <NODE Name="Opening" Type="1" KeyType="0" Entries="3"><TRACK Key="1"/><TRACK Key="4"/><TRACK Key="2"/></NODE>
        </NODE>
        <NODE Name="Empty" Type="0" Count="0"/>
      </NODE>
      <NODE Name="Flat" Type="1" KeyType="0" Entries="3"><TRACK Key="3"/><TRACK Key="1"/><TRACK Key="3"/></NODE>
    </NODE>
  </PLAYLISTS>
</DJ_PLAYLISTS>
"""

#: Two entries, the second in no library.
TRAKTOR = """<?xml version="1.0" encoding="UTF-8" standalone="no" ?>
<NML VERSION="19"><HEAD COMPANY="www.native-instruments.com" PROGRAM="Traktor"></HEAD>
<MUSICFOLDERS></MUSICFOLDERS>
<COLLECTION ENTRIES="2"><ENTRY MODIFIED_DATE="2024/5/6" LOCK="1" AUDIO_ID="AZ//x" TITLE="One" ARTIST="Ann">
<LOCATION DIR="/:Music/:House/:" FILE="one.mp3" VOLUME="C:" VOLUMEID="56a8f2cc"></LOCATION>
<ALBUM TRACK="3" TITLE="First"></ALBUM>
<MODIFICATION_INFO AUTHOR_TYPE="user"></MODIFICATION_INFO>
<INFO BITRATE="320000" GENRE="House" LABEL="Own" COMMENT="good" KEY="1m" PLAYCOUNT="5" PLAYTIME="100" PLAYTIME_FLOAT="100.100000"
 RANKING="153" IMPORT_DATE="2024/5/6" FLAGS="12" FILESIZE="1" COLOR="2"></INFO>
<TEMPO BPM="128.000000" BPM_QUALITY="100.000000"></TEMPO>
<LOUDNESS PEAK_DB="-0.1" PERCEIVED_DB="-1.5" ANALYZED_DB="-1.5"></LOUDNESS>
<MUSICAL_KEY VALUE="21"></MUSICAL_KEY>
<CUE_V2 NAME="AutoGrid" DISPL_ORDER="0" TYPE="4" START="51.400000" LEN="0.000000" REPEATS="-1" HOTCUE="0">
<GRID BPM="128.000000"></GRID>
</CUE_V2>
<CUE_V2 NAME="Drop" DISPL_ORDER="0" TYPE="0" START="32500.000000" LEN="0.000000" REPEATS="-1" HOTCUE="1"></CUE_V2>
<CUE_V2 NAME="n.n." DISPL_ORDER="0" TYPE="5" START="64000.000000" LEN="7500.000000" REPEATS="-1" HOTCUE="-1"></CUE_V2>
</ENTRY>
<ENTRY TITLE="Far" ARTIST="Bob"><LOCATION DIR="/:Far/:" FILE="far.mp3" VOLUME="USB" VOLUMEID="USB"></LOCATION>
<INFO RANKING="255" FILESIZE="9"></INFO>
</ENTRY>
</COLLECTION>
<SETS ENTRIES="0"></SETS>
<PLAYLISTS><NODE TYPE="FOLDER" NAME="$ROOT"><SUBNODES COUNT="1"><NODE TYPE="FOLDER" NAME="Gigs"><SUBNODES COUNT="2">
<NODE TYPE="PLAYLIST" NAME="Friday"><PLAYLIST ENTRIES="1" TYPE="LIST" UUID="0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f">
<ENTRY><PRIMARYKEY TYPE="TRACK" KEY="C:/:Music/:House/:one.mp3"></PRIMARYKEY></ENTRY></PLAYLIST></NODE>
<NODE TYPE="SMARTLIST" NAME="All"><SMARTLIST UUID="1f">
<SEARCH_EXPRESSION VERSION="1" QUERY="$BPM &gt; 1"></SEARCH_EXPRESSION></SMARTLIST></NODE>
</SUBNODES></NODE></SUBNODES></NODE></PLAYLISTS>
</NML>
"""
